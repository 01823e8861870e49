"""Types that several parts of the values share: closed models, quantities, images, resources, scheduling."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from deploy.chart.service_settings import get_setting


class ChartModel(BaseModel):
    """Base of all values: refuses unknown keys; keys are camelCase, as Helm's users expect."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True, validate_default=True, frozen=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Refuses a value whose type differs from the setting that it sets."""
        for info in cls.model_fields.values():
            if setting := get_setting(info):
                setting.check_type(info.annotation)


_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
Host = Annotated[str, StringConstraints(pattern=r"^([a-zA-Z0-9*]([-a-zA-Z0-9.]{0,251}[a-zA-Z0-9])?)?$")]
WebhookHost = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,251}[a-zA-Z0-9])?(:[0-9]{1,5})?$")]
WebOrigin = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?)$")]
UrlPath = Annotated[str, StringConstraints(pattern=r"^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?$")]
RouteHost = Annotated[str, StringConstraints(pattern=rf"^((\*\.)?{_LABEL}(\.{_LABEL})*)?$", max_length=253)]
Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")]
# no more than Go's parser takes: what it refuses ends in an error of a template instead of a sentence
_GROUP = "[0-9A-Fa-f]{1,4}"
_SHORTENED = (
    rf"({_GROUP}(:{_GROUP}){{0,3}})?::({_GROUP}(:{_GROUP}){{0,2}})?|({_GROUP}(:{_GROUP}){{0,2}})?::({_GROUP}(:{_GROUP}){{0,3}})?"
)
_IPV6 = rf"\[({_GROUP}(:{_GROUP}){{7}}|{_SHORTENED})\]"
_HOST_OF_URL = rf"([A-Za-z0-9._~!&'()*+,;=:-]+@)?([A-Za-z0-9._~-]+|{_IPV6})(:[0-9]{{1,5}})?"
Url = Annotated[str, StringConstraints(pattern=rf"^(https?://{_HOST_OF_URL}([/?#]([!-#\x24&-~]|%[0-9A-Fa-f]{{2}})*)?)?$")]
Digest = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64})?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Labels = dict[str, str]
BaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class ImageReference(ChartModel):
    """One image. A digest overrides the tag."""

    registry: str = Field(default="", description="host/prefix of this image alone; empty takes images.registry")
    name: str = Field(min_length=1, description="repository below the registry")
    tag: str = Field(default="", description="empty takes the chart's appVersion")
    digest: Digest = Field(default="", description="sha256:..., written by `make images`; it overrides the tag")


def define_image(name: str, description: str, **more: str) -> Any:
    """A field for an image, with its default."""
    return Field(default=ImageReference(name=name, **more), description=description)


class ResourceRequests(ChartModel):
    """CPU, memory and node-local disk of a container."""

    cpu: Quantity = Field(default="100m", description="cores")
    memory: Quantity = Field(default="256Mi", description="bytes")
    ephemeral_storage: Quantity = Field(default="1Gi", alias="ephemeral-storage", description="bytes on the node's own disk")


class ResourceLimits(ChartModel):
    """The most a container may take. No CPU limit by default: throttling makes sounds late and frees nothing."""

    cpu: Quantity | None = Field(default=None, description="cores; null sets no limit")
    memory: Quantity = Field(default="512Mi", description="bytes; a container that uses more is ended")
    ephemeral_storage: Quantity = Field(default="4Gi", alias="ephemeral-storage", description="bytes on the node's own disk")


class ContainerResources(ChartModel):
    """Requests and limits of one container."""

    requests: ResourceRequests = Field(default=ResourceRequests(), description="what the scheduler reserves")
    limits: ResourceLimits = Field(default=ResourceLimits(), description="what it may never exceed")


def define_resources(cpu: str, memory: str, most: str, disk: str = "1Gi", most_disk: str = "4Gi", *, note: str = "") -> Any:
    """A field for the resources of a container: what it requests, and the most that it may take."""
    requests = ResourceRequests(cpu=cpu, memory=memory, ephemeral_storage=disk)
    limits = ResourceLimits(memory=most, ephemeral_storage=most_disk)
    return Field(default=ContainerResources(requests=requests, limits=limits), description=f"requests and limits{note}")


class TaintToleration(ChartModel):
    """A taint that is tolerated."""

    key: str = Field(default="", description="the taint's key; empty with Exists tolerates all")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Exists, or Equal with a value")
    value: str = Field(default="", description="the taint's value")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(default="", description="empty: every effect")


class PodToleration(TaintToleration):
    """A taint that is tolerated, for a limited time where one is given."""

    toleration_seconds: int | None = Field(default=None, ge=0, description="how long NoExecute is tolerated; null: for ever")


class LabelRequirement(ChartModel):
    """One line of a selector's matchExpressions."""

    key: str = Field(min_length=1, description="label")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="how it is compared")
    values: list[str] = Field(default=[], description="with In and NotIn")


class LabelSelector(ChartModel):
    """Labels that are selected; without any, everything is."""

    match_labels: Labels = Field(default={}, description="labels and their values")
    match_expressions: list[LabelRequirement] = Field(default=[], description="more general requirements")


class AddressRange(ChartModel):
    """A range of addresses."""

    cidr: Cidr = Field(description="range, as in 10.0.0.0/8")
    except_: list[Cidr] = Field(default=[], alias="except", description="ranges inside it that are left out")


class NetworkPeer(ChartModel):
    """A NetworkPolicy peer: pods, namespaces, or addresses."""

    pod_selector: LabelSelector | None = Field(default=None, description="pods")
    namespace_selector: LabelSelector | None = Field(default=None, description="namespaces")
    ip_block: AddressRange | None = Field(default=None, description="addresses, instead of both")


class PodPlacement(ChartModel):
    """Where the pods of one part may run."""

    node_selector: Labels = Field(default={}, description="labels a node must have")
    tolerations: list[PodToleration] = Field(default=[], description="taints that are tolerated")
    affinity: dict[str, Any] = Field(default={}, description="Kubernetes affinity")
    priority_class_name: str = Field(default="", description="priority class; empty takes pods.priorityClassName")
    annotations: Labels = Field(default={}, description="annotations of the pods")


class VolumeValues(ChartModel):
    """A volume that outlives the release. It may grow, not shrink; its class cannot change."""

    size: Quantity = Field(default="10Gi", description="size; larger later is fine where the storage class can grow volumes")
    storage_class: str = Field(default="", description="storage class; empty takes the cluster's default")


class HostNameValues(ChartModel):
    """Names under which members reach the two services."""

    studio_host: RouteHost = Field(default="", description="host name of the studio; empty makes no rule for it")
    generation_host: RouteHost = Field(default="", description="host name of the generation API; empty makes no rule for it")
    annotations: Labels = Field(default={}, description="annotations of the object")
