"""Values of our own programs: generation, studio and pipelines. Those that set a setting take it from the settings class."""

from typing import Annotated, Any, Literal

from pydantic import Field

from audiotune.access import VARIABLE as ACCESS_VARIABLE
from deploy.chart.service_settings import ServiceSetting, take_setting
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
    UrlPath,
    VariableName,
    WebhookHost,
    WebOrigin,
    define_resources,
)
from pipelines.cluster.settings import Cluster
from services.generation.settings import GenerationSettings as Generation
from services.governance.settings import GovernanceSettings as Governance
from services.studio.settings import StudioSettings as Studio

Preset = Literal["cpu", "l4-24gb", "a100-40gb", "h100-80gb", "mig-2g.20gb"]
ReleaseName = Annotated[str, Field(min_length=1, max_length=100)]
_BY_PRESET = "null comes from the preset"
# conditions under which a setting is given
_OIDC = "$values.studio.oidc.issuer"
_KFP = 'ne $values.kfp.mode "none"'
_MULTI_USER = 'eq $values.kfp.mode "multi-user"'
_WEBHOOKS = "$values.generation.webhooks.secret"
_OIDC_CA = f"and {_OIDC} $values.studio.oidc.caConfigMap"
_NOTICE_WEBHOOK = "$values.studio.notices.webhook.url"
_NOTICE_MAIL = "$values.studio.notices.mail.host"
_NOTICE_MATRIX = "$values.studio.notices.matrix.url"
# expressions that give a setting
_GENERATION_URL = 'printf "http://%s-generation.%s.svc:3000" (include "audio-tune.name" $root) $root.Release.Namespace'
_GOVERNANCE_SECRET = 'include "audio-tune.governance-secret" (dict "root" $root "of" "{}")'
_RUN_ACCOUNT = f'ternary $values.kfp.serviceAccount "" ({_MULTI_USER})'
_PUBLIC_URL = (
    '$values.studio.oidc.url | default (printf "https://%s" (ternary $values.ingress.studioHost $values.httpRoute.studioHost'
    " (and $values.ingress.enabled (not (empty $values.ingress.studioHost)))))"
)

_HOSTS = 'join "," (compact (concat $values.studio.hosts (list $values.ingress.studioHost $values.httpRoute.studioHost)))'

# Settings that follow from other values or from how the chart is built: no value sets them.
CHART_DECIDES = (
    ServiceSetting(Generation, "drain_s", "int64 $values.generation.longestSeconds", reason="as long as a request may wait"),
    ServiceSetting(Generation, "device", 'ternary "cuda" "cpu" (gt (int $gpu.count) 0)', reason="follows from generation.gpu"),
    *(
        ServiceSetting(Governance, name, expression, _OIDC, reason="as the studio's")
        for name, expression in (
            ("oidc_issuer", _OIDC),
            ("oidc_client_id", "$values.studio.oidc.clientId"),
            ("oidc_member_claim", "$values.studio.oidc.memberClaim"),
            ("oidc_claim_is_member", "$values.studio.oidc.claimIsMember"),
            ("oidc_groups", 'join "," $values.studio.oidc.groups'),
            ("oidc_groups_claim", "$values.studio.oidc.groupsClaim"),
        )
    ),
    ServiceSetting(Governance, "oidc_ca", '"/etc/audio-tune/oidc/ca.crt"', _OIDC_CA, reason="as the studio's"),
    ServiceSetting(Studio, "generation_url", _GENERATION_URL, reason="the Service of this release"),
    ServiceSetting(Studio, "work_folder", '"/tmp/studio"', reason="the volume of studio.workSize"),
    ServiceSetting(Studio, "oidc_ca", '"/etc/audio-tune/oidc/ca.crt"', _OIDC_CA, reason="the mounted studio.oidc.caConfigMap"),
    ServiceSetting(Studio, "kfp_namespace", "$root.Release.Namespace", _MULTI_USER, reason="runs happen in this namespace"),
    ServiceSetting(Cluster, "service_account", _RUN_ACCOUNT, reason="the studio starts runs with the same one"),
)


class GpuValues(ChartModel):
    """A preset, and values that replace parts of it. Null takes the value of the preset (files/presets.yaml)."""

    preset: Preset = Field(default="cpu", description="kind of machine: cpu, l4-24gb, a100-40gb, h100-80gb or mig-2g.20gb")
    device: Literal["plugin", "claim"] = Field(
        default="plugin",
        description="plugin: ask for the resource by name; claim: Dynamic Resource Allocation (Kubernetes 1.32 or newer)",
    )
    device_class: str = Field(default="gpu.nvidia.com", description="device class of the claim")
    resource: str | None = Field(default=None, description="resource name, as in nvidia.com/gpu")
    count: int | None = Field(default=None, ge=0, le=16, description="how many of it; 0 runs on the CPU")
    node_selector: Labels | None = Field(default=None, description="labels a GPU node must have")
    tolerations: list[TaintToleration] | None = Field(default=None, description="taints that are tolerated")
    runtime_class_name: str | None = Field(
        default=None, description="runtime class; empty where the node's default supports GPUs"
    )
    shared_memory: Quantity | None = Field(default=None, description="size of /dev/shm")


class GenerationGpuValues(GpuValues):
    """The machine of the generation service, and its batch size."""

    batch_size: int | None = take_setting(Generation, "batch", expression="int64 $gpu.batchSize", default=None, reason=_BY_PRESET)


class TrainingGpuValues(GpuValues):
    """The machine of the pipelines' steps, and its batch size and recipe."""

    count: int | None = take_setting(Cluster, "gpus", expression="int64 $gpu.count", default=None, reason=_BY_PRESET)
    shared_memory: str | None = take_setting(
        Cluster, "shared_memory", expression="$gpu.sharedMemory", default=None, reason=_BY_PRESET
    )
    batch_size: int | None = take_setting(Cluster, "batch_size", expression="int64 $gpu.batchSize")
    recipe: str | None = take_setting(Cluster, "recipe", expression="$gpu.recipe", default=None, reason=_BY_PRESET)


class ReleaseValues(ChartModel):
    """Which release is served."""

    name: ReleaseName = take_setting(
        Generation,
        "release",
        default="audio-tune",
        reason="the recipes register under this name; without one the service is not ready while several are registered",
        note="several with commas, the default first",
    )
    alias: str = take_setting(Generation, "alias")
    candidates: bool = take_setting(Generation, "candidates")


class AutoscalingValues(ChartModel):
    """Starts more pods when requests wait."""

    kind: Literal["none", "hpa", "keda"] = Field(
        default="none",
        description="hpa: needs a metrics adapter that serves audio_tune_waiting; keda: queries Prometheus itself (needs KEDA's CRD)",
    )
    min_replicas: int = Field(default=1, ge=1, le=100, description="never fewer pods")
    max_replicas: int = Field(default=3, ge=1, le=100, description="never more pods")
    waiting: int = Field(default=4, ge=1, le=10_000, description="waiting requests per pod from which another one starts")
    prometheus_url: Url = Field(default="", description="Prometheus' address (keda)")


class QuotaValues(ChartModel):
    """Limits for one member."""

    rate_per_minute: int = take_setting(Generation, "rate_per_minute")
    sound_seconds_per_day: float = take_setting(Generation, "sound_s_per_day")
    kept_mb_per_day: float = take_setting(Generation, "kept_mb_per_day")
    queue: int = take_setting(Generation, "member_queue")
    jobs: int = take_setting(Generation, "member_jobs")


class WebhookValues(ChartModel):
    """Addresses that get a message when a job has ended."""

    secret: Name = take_setting(Generation, "webhook_secret", secret_key="secret", note="empty: nothing is sent")
    hosts: list[WebhookHost] = take_setting(
        Generation, "webhook_hosts", when=_WEBHOOKS, default=[], note="as in studio or 10.0.0.7:8080; their ports are opened"
    )


class GenerationValues(PodPlacement):
    """The service that makes sounds."""

    replicas: int = Field(default=1, ge=0, le=100, description="pods; each loads the release")
    release: ReleaseValues = Field(default=ReleaseValues(), description="what is served")
    queue: int = take_setting(Generation, "queue")
    queue_seconds: float = take_setting(Generation, "queue_s")
    batch_seconds: float = take_setting(Generation, "batch_s")
    body_mb: float = take_setting(Generation, "body_mb")
    init_seconds: float = take_setting(Generation, "init_s")
    allowance: QuotaValues = Field(default=QuotaValues(), description="limits for one member")
    webhooks: WebhookValues = Field(default=WebhookValues(), description="addresses that get a message when a job has ended")
    poll_seconds: float = take_setting(Generation, "poll_s")
    ledger_seconds: float = take_setting(Generation, "ledger_s")
    consent_seconds: float = take_setting(Generation, "consent_s")
    adapters: str = take_setting(Generation, "adapters")
    grace_seconds: float = take_setting(Generation, "grace_s")
    keep: bool = take_setting(Generation, "keep")
    keep_days: float = take_setting(
        Generation, "keep_days", note="0: for ever; objectStorage.lifecycle.jobsDays must be as long, or 0"
    )
    log_prompts: bool = take_setting(Generation, "log_prompts")
    cors_origins: list[WebOrigin] = take_setting(
        Generation, "cors_origins", default=[], note="as in https://band.example; * is any page"
    )
    root_path: UrlPath = take_setting(
        Generation, "root_path", note="as in /tune; Ingress and HTTPRoute then lead there; empty: the root of its name"
    )
    gpu: GenerationGpuValues = Field(default=GenerationGpuValues(), description="the machine it runs on")
    cache_size: Quantity = Field(default="20Gi", description="node-local disk for weights; lost with the pod, fetched again")
    pre_stop_seconds: int = Field(default=10, ge=0, le=300, description="pause before a pod ends, for load balancers")
    longest_seconds: int = take_setting(
        Generation, "patience_s", note="a pod that ends gets this and the pause before it is killed"
    )
    autoscaling: AutoscalingValues = Field(default=AutoscalingValues(), description="more pods when requests wait")
    resources: ContainerResources = define_resources("500m", "2Gi", "8Gi", "2Gi", "30Gi", note="; GPUs are added by the preset")
    env: dict[VariableName, str] = Field(default={}, description="more environment variables; those the chart sets are refused")


class OidcValues(ChartModel):
    """Sign-in at a provider (OpenID Connect) instead of passwords."""

    issuer: Url = take_setting(Studio, "oidc_issuer", when=_OIDC)
    client_id: str = take_setting(Studio, "oidc_client_id", when=_OIDC)
    secret: Name = take_setting(
        Studio, "oidc_client_secret", when=_OIDC, secret_key="client-secret", note="empty: a public client"
    )
    name: str = take_setting(Studio, "oidc_name", when=_OIDC)
    scopes: str = take_setting(Studio, "oidc_scopes", when=_OIDC)
    member_claim: str = take_setting(
        Studio, "oidc_member_claim", when=_OIDC, note="owners say on the Account page which member that is"
    )
    claim_is_member: bool = take_setting(
        Studio, "oidc_claim_is_member", when=_OIDC, note="only where nobody can choose it at the provider"
    )
    groups: list[str] = take_setting(Studio, "oidc_groups", when=_OIDC, default=[], note="empty: all its people")
    groups_claim: str = take_setting(Studio, "oidc_groups_claim", when=_OIDC)
    url: Url = take_setting(
        Studio,
        "public_url",
        when=_OIDC,
        expression=_PUBLIC_URL,
        note="empty: https:// and studioHost; the provider sends members back to <url>/oidc/back",
    )
    session_hours: float = take_setting(Studio, "oidc_session_h", when=_OIDC)
    ca_config_map: Name = Field(default="", description="ConfigMap with ca.crt, where the provider's authority is private")
    port: Port = Field(default=443, description="port that the network policy opens towards it")


class NoticeWebhookValues(ChartModel):
    """An address that gets every notice as JSON."""

    url: Url = take_setting(Studio, "notice_webhook", when=_NOTICE_WEBHOOK)
    secret: Name = take_setting(Studio, "notice_webhook_secret", when=_NOTICE_WEBHOOK, secret_key="secret")


class NoticeMailValues(ChartModel):
    """A mail server, by which members are told who gave an address."""

    host: str = take_setting(Studio, "smtp_host", when=_NOTICE_MAIL)
    port: Port = take_setting(Studio, "smtp_port", when=_NOTICE_MAIL)
    security: Literal["starttls", "tls", "none"] = take_setting(Studio, "smtp_security", when=_NOTICE_MAIL)
    user: str = take_setting(Studio, "smtp_user", when=_NOTICE_MAIL)
    secret: Name = take_setting(Studio, "smtp_password", when=_NOTICE_MAIL, secret_key="password", note="needed with a user")
    sender: str = take_setting(Studio, "smtp_from", when=_NOTICE_MAIL)


class NoticeMatrixValues(ChartModel):
    """A room of a Matrix server."""

    url: Url = take_setting(Studio, "matrix_url", when=_NOTICE_MATRIX)
    room: str = take_setting(Studio, "matrix_room", when=_NOTICE_MATRIX)
    secret: Name = take_setting(Studio, "matrix_token", when=_NOTICE_MATRIX, secret_key="token")


class NoticeValues(ChartModel):
    """How members are told what happens in the group; nothing is sent unless one of these is set."""

    webhook: NoticeWebhookValues = Field(default=NoticeWebhookValues(), description="an address that gets every notice")
    mail: NoticeMailValues = Field(default=NoticeMailValues(), description="e-mail to members")
    matrix: NoticeMatrixValues = Field(default=NoticeMatrixValues(), description="a room that is told")
    hosts: list[WebhookHost] = take_setting(Studio, "notice_hosts", default=[], note="as in mail.home:25; their ports are opened")


class StudioValues(PodPlacement):
    """The web page: upload, annotate, generate, releases, agreement."""

    enabled: bool = Field(default=True, description="without it the API alone remains")
    releases_by: Literal["members", "owners"] = take_setting(Studio, "releases_by")
    oidc: OidcValues = Field(default=OidcValues(), description="sign-in at a provider")
    notices: NoticeValues = Field(default=NoticeValues(), description="how members are told what happens")
    upload_limit_mb: int = take_setting(Studio, "upload_limit_mb")
    upload_quota_gb: float = take_setting(Studio, "upload_quota_gb", default=8.0, reason="all members share workSize")
    hosts: list[str] = take_setting(Studio, "hosts", default=[], expression=_HOSTS, note="studioHost is known without it")
    root_path: UrlPath = take_setting(
        Studio, "root_path", note="as in /studio; Ingress and HTTPRoute then lead there; empty: the root of its name"
    )
    proxies: list[str] = take_setting(
        Studio,
        "proxies",
        default=[],
        note="those of the Ingress controller or Gateway; without them all visitors are one address",
    )
    generation_limit_seconds: int = take_setting(Studio, "generation_limit_s")
    work_size: Quantity = Field(default="20Gi", description="node-local disk for uploads on their way")
    pre_stop_seconds: int = Field(default=5, ge=0, le=300, description="pause before the pod ends")
    resources: ContainerResources = define_resources("100m", "512Mi", "4Gi", "1Gi", "30Gi")
    env: dict[VariableName, str] = Field(default={}, description="more environment variables; those the chart sets are refused")


def _take_made_secret(field: str, of: str) -> Any:
    """A Secret of the governance service that the cluster makes where none is named."""
    expression = _GOVERNANCE_SECRET.format(of)
    return take_setting(Governance, field, secret_key="key", expression=expression, note="empty: made in the cluster")


class GovernanceSecretValues(ChartModel):
    """Secrets that the service and its callers share, each with the key `key`; empty: made in the cluster."""

    studio: Name = _take_made_secret("studio_key", "studio")
    ingest: Name = _take_made_secret("ingest_key", "ingest")
    erasure: Name = _take_made_secret("erasure_key", "erasure")
    tickets: Name = _take_made_secret("ticket_key", "tickets")
    ledger: Name = _take_made_secret("ledger_key", "ledger")
    older_ledger: Name = take_setting(Governance, "older_ledger_key", secret_key="key", note="empty: it was never changed")


class GovernanceValues(PodPlacement):
    """The one writer of agreements, consents, accounts and tokens."""

    secrets: GovernanceSecretValues = Field(default=GovernanceSecretValues(), description="keys of its callers")
    resources: ContainerResources = define_resources("50m", "192Mi", "512Mi")


class AccessValues(ChartModel):
    """Who has access."""

    mode: Literal["members", "open"] = take_setting(
        Studio, "access", shared_variable=ACCESS_VARIABLE, default="members", reason="in a cluster many can reach a service"
    )
    first_owner: Name = Field(default="owner", description="member whose account is made on the first install; empty makes none")


class KfpValues(ChartModel):
    """Kubeflow Pipelines, where the runs happen."""

    mode: Literal["none", "single-user", "multi-user"] = Field(
        default="none",
        description="none; single-user: runs happen in KFP's own namespace; multi-user: runs happen in this release's namespace",
    )
    endpoint: Url = take_setting(Studio, "kfp_url", when=_KFP, note="as in http://ml-pipeline.kubeflow:8888")
    pages: Url = take_setting(Studio, "kfp_pages", when=_KFP, note="the studio links a run to its own")
    namespace: Name = Field(default="kubeflow", description="namespace of Kubeflow Pipelines itself")
    token_secret: Name = take_setting(Studio, "kfp_token", when=_KFP, secret_key="token", note="empty where it asks for none")
    upload: bool = Field(default=True, description="upload the compiled pipelines after install and upgrade")
    service_account: Name = take_setting(
        Studio,
        "kfp_service_account",
        when=_MULTI_USER,
        default="pipeline-runner",
        reason="the chart makes this account with the rights that the steps need",
        note="made by the chart (multi-user); empty makes none",
    )


class PipelineValues(ChartModel):
    """Resources of the steps of a run, which the pipelines read in the ConfigMap <release>-cluster."""

    gpu: TrainingGpuValues = Field(default=TrainingGpuValues(), description="machine of encode, finetune and evaluate")
    nodes: int = take_setting(
        Cluster, "nodes", default=1, reason="the chart always says it", note="above 1 Kubeflow Trainer 2.2 must be there"
    )
    internet: bool = Field(default=True, description="steps may fetch recordings and models from https addresses (multi-user)")
    retries: int = take_setting(Cluster, "retries")
    gpu_timeout_seconds: int = take_setting(Cluster, "gpu_timeout_s")
    cpu_request: str = take_setting(Cluster, "cpu_request")
    memory_request: str = take_setting(Cluster, "memory_request")
    memory_limit: str = take_setting(Cluster, "memory_limit")
    gpu_memory_limit: str = take_setting(Cluster, "gpu_memory_limit")


class HuggingFaceValues(ChartModel):
    """Hugging Face: your token for models behind a licence, and the job that copies `bases` into the store."""

    secret: Name = take_setting(
        Cluster,
        "hub_secret",
        note="an existing one, for the job of `bases`, too; empty: no model behind a licence is fetched",
    )
    key: str = take_setting(Cluster, "hub_secret_key")
    endpoint: Url = take_setting(
        Cluster, "hub_endpoint", note="a hub of the same kind, for the job of `bases`, too; empty: huggingface.co"
    )
    deadline_seconds: Seconds = Field(
        default=21_600, description="the job of `bases` fails when it takes longer; the next one goes on where it ended"
    )
    resources: ContainerResources = define_resources("100m", "512Mi", "4Gi", "1Gi", "20Gi")


class HelmTestValues(ChartModel):
    """`helm test`: the smallest whole pipeline, inside the cluster."""

    enabled: bool = Field(default=True, description="offer the test")
    steps: int = Field(default=12, ge=1, le=100_000, description="optimizer steps of the tiny model")
    deadline_seconds: Seconds = Field(default=1500, description="the test fails when it takes longer")
    resources: ContainerResources = define_resources("500m", "1536Mi", "6Gi", "1Gi", "10Gi")
