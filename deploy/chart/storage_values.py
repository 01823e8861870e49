"""Values of object storage, database and registry. Each is bundled with the release or external."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from deploy.chart.value_types import (
    ChartModel,
    ContainerResources,
    Host,
    Name,
    PodPlacement,
    Port,
    Url,
    VolumeValues,
    define_resources,
)

BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
BucketPrefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$")]


class StoreUserSecretValues(ChartModel):
    """Secrets (keys accesskey and secretkey) of the users of the store, where one for all is not enough."""

    studio: Name = Field(default="", description="empty takes objectStorage.external.secret")
    generation: Name = Field(default="", description="empty takes objectStorage.external.secret")
    pipelines: Name = Field(default="", description="empty takes objectStorage.external.secret")
    registry: Name = Field(default="", description="empty takes objectStorage.external.secret")
    governance: Name = Field(default="", description="empty takes objectStorage.external.secret")
    backup: Name = Field(default="", description="empty takes objectStorage.external.secret")
    erasure: Name = Field(default="", description="empty takes objectStorage.external.secret")


class ExternalStoreValues(ChartModel):
    """Any S3."""

    endpoint: Url = Field(default="", description="address; empty is AWS itself")
    port: Port = Field(default=443, description="port that network policies open towards it")
    secret: Name = Field(default="", description="existing Secret with accesskey and secretkey")
    secrets: StoreUserSecretValues = Field(default=StoreUserSecretValues(), description="own keys for each service")
    ca_config_map: Name = Field(default="", description="ConfigMap with ca.crt of a private authority")
    path_style: bool = Field(default=True, description="bucket in the path; false: in the host name, as AWS prefers")
    make_bucket: bool = Field(default=False, description="let the bootstrap Job make the bucket and its rules with this key")


class BundledStoreValues(VolumeValues):
    """MinIO in this release."""

    size: str = Field(default="100Gi", pattern=r"^[0-9]+(Ki|Mi|Gi|Ti)$", description="size of the volume; may grow later")
    root_secret: Name = Field(
        default="", description="existing Secret with the administrator's accesskey and secretkey; empty: made"
    )


class LifecycleValues(ChartModel):
    """When objects are removed; 0 keeps them."""

    noncurrent_days: int = Field(default=14, ge=0, le=36_500, description="days a replaced or deleted object can be brought back")
    jobs_days: int = Field(
        default=45, ge=0, le=36_500, description="days until the store removes what generation.keepDays should have removed"
    )
    uploads_days: int = Field(
        default=3, ge=0, le=36_500, description="days after which an upload that never became an object is given up"
    )
    backups_days: int = Field(default=30, ge=0, le=36_500, description="days a database backup is kept")


class ObjectStorageValues(PodPlacement):
    """The store of sounds, manifests, weights and backups."""

    kind: Literal["bundled", "external"] = Field(default="bundled", description="MinIO in this release, or any S3")
    bucket: BucketName = Field(default="audio-tune", description="bucket")
    prefix: BucketPrefix = Field(default="", description="prefix below the bucket, where several groups share one")
    region: str = Field(default="us-east-1", min_length=1, description="region")
    bundled: BundledStoreValues = Field(default=BundledStoreValues(), description="the store of this release")
    external: ExternalStoreValues = Field(default=ExternalStoreValues(), description="a store outside of the release")
    versioning: bool = Field(default=True, description="keep replaced and deleted objects for noncurrentDays")
    lifecycle: LifecycleValues = Field(default=LifecycleValues(), description="when objects are removed")
    resources: ContainerResources = define_resources("100m", "512Mi", "2Gi", note=" (bundled)")


class ExternalDatabaseValues(ChartModel):
    """Any PostgreSQL from 13 on."""

    host: Host = Field(default="", description="host name")
    port: Port = Field(default=5432, description="port")
    secret: Name = Field(default="", description="existing Secret with username and password")
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="require", description="libpq's sslmode"
    )


class BundledDatabaseValues(VolumeValues):
    """PostgreSQL in this release."""

    secret: Name = Field(default="", description="existing Secret with username and password; empty: made in the cluster")
    run_as_user: int = Field(default=999, ge=1, le=4_294_967_295, description="user and group of the image's server")


class BackupValues(ChartModel):
    """Dumps of the database into the bucket, under backups/database/."""

    enabled: bool = Field(default=True, description="dump on schedule")
    schedule: str = Field(
        default="17 3 * * *", pattern=r"^\S+ \S+ \S+ \S+ \S+$", description="cron line, in the cluster's time zone"
    )
    old_hours: int = Field(default=50, ge=1, le=8760, description="hours without a good backup after which an alert is raised")


class DatabaseValues(PodPlacement):
    """Where the registry keeps runs, releases and aliases."""

    kind: Literal["bundled", "external"] = Field(default="bundled", description="PostgreSQL in this release, or any")
    name: str = Field(default="mlflow", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="database")
    bundled: BundledDatabaseValues = Field(default=BundledDatabaseValues(size="10Gi"), description="the database of this release")
    external: ExternalDatabaseValues = Field(default=ExternalDatabaseValues(), description="a database outside of the release")
    backup: BackupValues = Field(default=BackupValues(), description="dumps into the bucket")
    resources: ContainerResources = define_resources("100m", "256Mi", "1Gi", note=" (bundled)")


class ExternalRegistryValues(ChartModel):
    """An existing MLflow server."""

    url: Url = Field(default="", description="its address")
    port: Port = Field(default=443, description="port that network policies open towards it")
    token_secret: Name = Field(default="", description="Secret with the key `token`, given as MLFLOW_TRACKING_TOKEN")


class RegistryValues(PodPlacement):
    """MLflow: runs, releases, aliases."""

    kind: Literal["bundled", "external"] = Field(default="bundled", description="an MLflow server in this release, or any")
    external: ExternalRegistryValues = Field(default=ExternalRegistryValues(), description="an MLflow outside of the release")
    migrate: bool = Field(
        default=True, description="before an upgrade: dump the database into the bucket, then migrate its schema"
    )
    allowed_hosts: list[Host] = Field(default=[], description="host names it answers to, besides those of its Service")
    resources: ContainerResources = define_resources("200m", "768Mi", "2Gi", note=" (bundled)")
