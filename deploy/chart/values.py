"""All values of the chart as one closed type. The schema, values.yaml and the reference are made from it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from deploy.chart.cluster_values import (
    HttpRouteValues,
    ImageValues,
    IngressValues,
    MonitoringValues,
    NetworkValues,
    PodValues,
    PriorityClassValues,
)
from deploy.chart.rules import list_broken_rules
from deploy.chart.service_values import (
    AccessValues,
    GenerationValues,
    GovernanceValues,
    HelmTestValues,
    HuggingFaceValues,
    KfpValues,
    PipelineValues,
    StudioValues,
)
from deploy.chart.storage_values import DatabaseValues, ObjectStorageValues, RegistryValues
from deploy.chart.value_types import BaseName, ChartModel, ContainerResources, Name, Seconds, define_resources


class ChartJobValues(ChartModel):
    """The chart's own short jobs: secrets, bucket and users, first owner, migration, backup."""

    deadline_seconds: Seconds = Field(default=600, description="a job that takes longer fails")
    attempts: int = Field(default=6, ge=0, le=100, description="attempts after a first failure")
    resources: ContainerResources = define_resources("50m", "256Mi", "1Gi")


class ChartValues(ChartModel):
    """All values of the chart."""

    name_override: Name = Field(default="", description="instead of the chart's name in object names")
    images: ImageValues = Field(default=ImageValues(), description="where images are")
    access: AccessValues = Field(default=AccessValues(), description="who has access")
    generation: GenerationValues = Field(default=GenerationValues(), description="the service that makes sounds")
    studio: StudioValues = Field(default=StudioValues(), description="the web page")
    governance: GovernanceValues = Field(
        default=GovernanceValues(), description="the one writer of agreements, consents, accounts and tokens"
    )
    registry: RegistryValues = Field(default=RegistryValues(), description="MLflow")
    database: DatabaseValues = Field(default=DatabaseValues(), description="PostgreSQL")
    object_storage: ObjectStorageValues = Field(default=ObjectStorageValues(), description="S3")
    kfp: KfpValues = Field(default=KfpValues(), description="Kubeflow Pipelines")
    pipelines: PipelineValues = Field(default=PipelineValues(), description="resources of the steps of a run")
    bases: list[BaseName] = Field(
        default=[],
        description="models of Hugging Face that a job copies into the store at install, as in stabilityai/stable-audio-open-1.0",
    )
    hugging_face: HuggingFaceValues = Field(default=HuggingFaceValues(), description="Hugging Face")
    jobs: ChartJobValues = Field(default=ChartJobValues(), description="the chart's own short jobs")
    journey: HelmTestValues = Field(default=HelmTestValues(), description="helm test")
    network: NetworkValues = Field(default=NetworkValues(), description="which connections are allowed")
    ingress: IngressValues = Field(default=IngressValues(), description="Ingress")
    http_route: HttpRouteValues = Field(default=HttpRouteValues(), description="Gateway API")
    monitoring: MonitoringValues = Field(default=MonitoringValues(), description="metrics, alerts and a dashboard")
    pods: PodValues = Field(default=PodValues(), description="what all our pods have in common")
    priority_classes: PriorityClassValues = Field(default=PriorityClassValues(), description="services above jobs")
    global_: dict[str, Any] = Field(
        default={}, alias="global", description="Helm gives this to charts inside other charts; not read"
    )

    @model_validator(mode="after")
    def _check_rules(self) -> ChartValues:
        faults = list_broken_rules(self.as_helm())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def as_helm(self) -> dict[str, Any]:
        """The values as Helm sees them: camelCase keys."""
        return self.model_dump(mode="json", by_alias=True)
