"""The parts that are programs of ours: generation, studio, and what the pipelines need."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploy.chart.value_types import (
    ChartModel,
    ContainerResources,
    Labels,
    Name,
    PodPlacement,
    Port,
    Quantity,
    Seconds,
    TaintToleration,
    Url,
    VariableName,
    WebhookHost,
    make_resources,
)

Preset = Literal["cpu", "l4-24gb", "a100-40gb", "h100-80gb", "mig-2g.20gb"]


class GpuValues(ChartModel):
    """A preset, and what shall differ from it. Everything that is null comes from the preset (files/presets.yaml)."""

    preset: Preset = Field(default="cpu", description="kind of machine: cpu, l4-24gb, a100-40gb, h100-80gb or mig-2g.20gb")
    device: Literal["plugin", "claim"] = Field(
        default="plugin", description="plugin: ask for the resource by name; claim: Dynamic Resource Allocation (Kubernetes 1.34)"
    )
    device_class: str = Field(default="gpu.nvidia.com", description="device class of the claim")
    resource: str | None = Field(default=None, description="resource name, as in nvidia.com/gpu")
    count: int | None = Field(default=None, ge=0, le=16, description="how many of it")
    node_selector: Labels | None = Field(default=None, description="labels a GPU node must have")
    tolerations: list[TaintToleration] | None = Field(default=None, description="taints that are tolerated")
    runtime_class_name: str | None = Field(default=None, description="runtime class; empty where the node's default knows GPUs")
    shared_memory: Quantity | None = Field(default=None, description="size of /dev/shm")
    batch_size: int | None = Field(
        default=None, ge=1, le=4096, description="sounds made at once (generation); segments per optimizer step (pipelines)"
    )


class TrainingGpuValues(GpuValues):
    """The same for the pipelines' steps, with the recipe that fits."""

    recipe: str | None = Field(default=None, description="recipe that fits this machine")


class ReleaseValues(ChartModel):
    """Which release is served."""

    name: str = Field(default="audio-tune", min_length=1, max_length=100, description="name it is registered under")
    alias: str = Field(default="champion", min_length=1, description="alias that is followed")
    candidates: bool = Field(default=False, description="serve the candidate while there is no champion")


class AutoscalingValues(ChartModel):
    """More pods when requests wait."""

    kind: Literal["none", "hpa", "keda"] = Field(
        default="none",
        description="hpa: needs a metrics adapter that serves audio_tune_waiting; keda: asks Prometheus itself (KEDA's CRD must be there)",
    )
    min_replicas: int = Field(default=1, ge=1, le=100, description="never fewer pods")
    max_replicas: int = Field(default=3, ge=1, le=100, description="never more pods")
    waiting: int = Field(default=4, ge=1, le=10_000, description="waiting requests per pod from which another one starts")
    prometheus_url: Url = Field(default="", description="Prometheus' address (keda)")


class QuotaValues(ChartModel):
    """What one member may ask for, counted over all pods."""

    rate_per_minute: int = Field(default=600, ge=1, le=1_000_000, description="requests a minute")
    sound_seconds_per_day: float = Field(default=0, ge=0, le=1e9, description="seconds of sound a day (UTC); 0: no bound")
    queue: int = Field(default=32, ge=1, le=10_000, description="sounds that may wait in a pod")
    jobs: int = Field(default=200, ge=1, le=1_000_000, description="jobs that may wait or run")


class WebhookValues(ChartModel):
    """Addresses that are told when a job has ended."""

    secret: Name = Field(
        default="", description="existing Secret with the key `secret`, which signs what is sent; empty: none are sent"
    )
    hosts: list[WebhookHost] = Field(
        default=[], description="receivers that are not public https, as in studio or 10.0.0.7:8080; their ports are opened"
    )


class GenerationValues(PodPlacement):
    """The service that makes sounds."""

    replicas: int = Field(default=1, ge=0, le=100, description="pods; each loads the whole release")
    release: ReleaseValues = Field(default=ReleaseValues(), description="what is served")
    queue: int = Field(default=64, ge=1, le=10_000, description="sounds that may wait in a pod; more get 429 and Retry-After")
    queue_seconds: float = Field(default=300, gt=0, le=86_400, description="predicted seconds of work that may wait in a pod")
    batch_seconds: float = Field(
        default=2, gt=0, le=600, description="predicted seconds after which a batch takes no more sounds; others wait that long"
    )
    body_mb: float = Field(default=24, gt=0, le=1000, description="largest request, in MB")
    init_seconds: float = Field(default=60, gt=0, le=600, description="longest sound that a request may start from")
    allowance: QuotaValues = Field(default=QuotaValues(), description="what one member may ask for")
    webhooks: WebhookValues = Field(default=WebhookValues(), description="addresses that are told when a job has ended")
    poll_seconds: float = Field(default=5, gt=0, le=3600, description="seconds between looks at the alias")
    consent_seconds: float = Field(default=60, gt=0, le=86_400, description="seconds between looks at everybody's consent")
    adapters: str = Field(
        default="*",
        description="releases whose LoRA adapters requests may add to theirs, with commas; * all that are registered, empty none",
    )
    grace_seconds: float = Field(
        default=3600, ge=0, le=604_800, description="how long a release is served while the store cannot tell who consents"
    )
    keep: bool = Field(default=True, description="keep every sound and its record in the store, so that it can be traced")
    keep_days: float = Field(
        default=30, ge=0, le=36_500, description="days that kept sounds and ended jobs stay; 0: for ever; see lifecycle.jobsDays"
    )
    log_prompts: bool = Field(default=False, description="write prompts into the log")
    gpu: GpuValues = Field(default=GpuValues(), description="the machine it runs on")
    cache_size: Quantity = Field(default="20Gi", description="node-local disk for weights; lost with the pod, fetched again")
    pre_stop_seconds: int = Field(
        default=10, ge=0, le=300, description="pause before a pod ends, so that load balancers forget it"
    )
    longest_seconds: Seconds = Field(
        default=900, description="longest wait for a sound; a pod that ends gets this and the pause before it is killed"
    )
    autoscaling: AutoscalingValues = Field(default=AutoscalingValues(), description="more pods when requests wait")
    resources: ContainerResources = Field(
        default=make_resources("500m", "2Gi", "8Gi", "2Gi", "30Gi"),
        description="requests and limits; GPUs are added by the preset",
    )
    env: dict[VariableName, str] = Field(default={}, description="more environment variables; those the chart sets are refused")


class OidcValues(ChartModel):
    """Sign-in at a provider (OpenID Connect) instead of passwords."""

    issuer: Url = Field(default="", description="the provider, as in https://login.band.org/realms/band; empty: passwords")
    client_id: str = Field(default="", description="what the provider calls the studio")
    secret: Name = Field(default="", description="existing Secret with the key `client-secret`; empty: a public client")
    name: str = Field(default="your account", max_length=60, description="what members know the provider as")
    scopes: str = Field(default="openid email profile", description="scopes that are asked for")
    member_claim: str = Field(
        default="sub", min_length=1, description="claim that names a person; owners say on the Account page who that is here"
    )
    claim_is_member: bool = Field(
        default=False, description="the claim's value is the member's id; only where nobody can choose it at the provider"
    )
    groups: list[str] = Field(default=[], description="groups of the provider that may come in; empty: all its people")
    groups_claim: str = Field(default="groups", min_length=1, description="claim that lists a person's groups")
    url: Url = Field(
        default="",
        description="address members type; empty: https:// and studioHost. The provider sends members back to <url>/oidc/back",
    )
    session_hours: float = Field(default=12, gt=0, le=720, description="a sign-in counts for so many hours")
    ca_config_map: Name = Field(
        default="", description="ConfigMap with ca.crt, where the provider's certificate is of an own authority"
    )
    port: Port = Field(default=443, description="port that the network policy opens towards it")


class StudioValues(PodPlacement):
    """The web page: upload, annotate, generate, releases, agreement."""

    enabled: bool = Field(default=True, description="without it the API alone remains")
    releases_by: Literal["members", "owners"] = Field(
        default="members", description="who may start a training on the Releases page: every member, or owners only"
    )
    oidc: OidcValues = Field(default=OidcValues(), description="sign-in at a provider")
    upload_limit_mb: int = Field(default=6000, ge=1, le=100_000, description="largest file taken, in MB")
    generation_limit_seconds: Seconds = Field(default=600, description="longest wait for a sound")
    work_size: Quantity = Field(default="20Gi", description="node-local disk for uploads on their way")
    pre_stop_seconds: int = Field(default=5, ge=0, le=300, description="pause before the pod ends")
    resources: ContainerResources = Field(
        default=make_resources("100m", "512Mi", "4Gi", "1Gi", "30Gi"), description="requests and limits"
    )
    env: dict[VariableName, str] = Field(default={}, description="more environment variables; those the chart sets are refused")


class AccessValues(ChartModel):
    """Who may come in."""

    mode: Literal["members", "open"] = Field(
        default="members", description="members: sign-in and tokens; open: everybody who reaches it"
    )
    first_owner: Name = Field(default="owner", description="member whose account is made on the first install; empty makes none")


class KfpValues(ChartModel):
    """Kubeflow Pipelines, where the runs happen."""

    mode: Literal["none", "single-user", "multi-user"] = Field(
        default="none",
        description="none; single-user: runs happen in KFP's own namespace; multi-user: runs happen in this release's namespace",
    )
    endpoint: Url = Field(default="", description="its API, as in http://ml-pipeline.kubeflow:8888")
    pages: Url = Field(default="", description="its pages as a browser reaches them; the studio links a run to its own")
    namespace: Name = Field(default="kubeflow", description="namespace Kubeflow Pipelines itself lives in")
    token_secret: Name = Field(default="", description="Secret with the key `token`, where the API asks for one")
    upload: bool = Field(default=True, description="upload the compiled pipelines after install and upgrade")
    service_account: Name = Field(default="pipeline-runner", description="account of the steps (multi-user); empty makes none")


class PipelineValues(ChartModel):
    """What the steps of a run ask for. Told to the pipelines in the ConfigMap <release>-cluster."""

    gpu: TrainingGpuValues = Field(default=TrainingGpuValues(), description="machine of encode, finetune and evaluate")
    nodes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="training pods, each with the preset's GPUs; above 1 Kubeflow Trainer 2.2 must be there",
    )
    internet: bool = Field(
        default=True, description="steps may fetch recordings and base models from https addresses (multi-user)"
    )
    retries: int = Field(default=2, ge=0, le=10, description="attempts after a first failure")
    gpu_timeout_seconds: int = Field(
        default=604_800, ge=60, description="a GPU step that runs longer is ended; it resumes when run again"
    )
    cpu_request: Quantity = Field(default="500m", description="cores every step asks for")
    memory_request: Quantity = Field(default="1Gi", description="memory every step asks for")
    memory_limit: Quantity = Field(default="8Gi", description="memory limit of steps without a GPU")
    gpu_memory_limit: Quantity = Field(default="48Gi", description="memory limit of GPU steps")


class HelmTestValues(ChartModel):
    """`helm test`: the journey at its smallest inside the cluster."""

    enabled: bool = Field(default=True, description="offer the test")
    steps: int = Field(default=12, ge=1, le=100_000, description="optimizer steps of the tiny model")
    deadline_seconds: Seconds = Field(default=1500, description="the test fails when it takes longer")
    resources: ContainerResources = Field(
        default=make_resources("500m", "1536Mi", "6Gi", "1Gi", "10Gi"), description="requests and limits"
    )
