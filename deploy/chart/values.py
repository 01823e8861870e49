"""Values: everything a `helm install` can be told, as one closed type. The schema, values.yaml and the reference come from it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from deploy.chart.basics import Closed, Name, Resources, Seconds, resources
from deploy.chart.outside import HttpRoute, Images, Ingress, Monitoring, Network, Pods, PriorityClasses
from deploy.chart.parts import Access, Generation, Journey, Kfp, Pipelines, Studio
from deploy.chart.rules import broken
from deploy.chart.stores import Database, ObjectStorage, Registry


class Jobs(Closed):
    """The chart's own short jobs: secrets, bucket and users, first owner, migration, backup."""

    deadline_seconds: Seconds = Field(default=600, description="a job that takes longer is ended and says so")
    attempts: int = Field(default=6, ge=0, le=100, description="attempts after a first failure")
    resources: Resources = Field(default=resources("50m", "256Mi", "1Gi"), description="requests and limits")


class Values(Closed):
    """All values of the chart."""

    name_override: Name = Field(default="", description="instead of the chart's name in object names")
    images: Images = Field(default=Images(), description="where images live")
    access: Access = Field(default=Access(), description="who may come in")
    generation: Generation = Field(default=Generation(), description="the service that makes sounds")
    studio: Studio = Field(default=Studio(), description="the web page")
    registry: Registry = Field(default=Registry(), description="MLflow")
    database: Database = Field(default=Database(), description="PostgreSQL")
    object_storage: ObjectStorage = Field(default=ObjectStorage(), description="S3")
    kfp: Kfp = Field(default=Kfp(), description="Kubeflow Pipelines")
    pipelines: Pipelines = Field(default=Pipelines(), description="what the steps of a run ask for")
    jobs: Jobs = Field(default=Jobs(), description="the chart's own short jobs")
    journey: Journey = Field(default=Journey(), description="helm test")
    network: Network = Field(default=Network(), description="who may talk to whom")
    ingress: Ingress = Field(default=Ingress(), description="Ingress")
    http_route: HttpRoute = Field(default=HttpRoute(), description="Gateway API")
    monitoring: Monitoring = Field(default=Monitoring(), description="what tells an operator")
    pods: Pods = Field(default=Pods(), description="what all our pods have in common")
    priority_classes: PriorityClasses = Field(default=PriorityClasses(), description="services above jobs")
    global_: dict[str, Any] = Field(
        default={}, alias="global", description="Helm gives this to charts inside other charts; not read"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Values:
        faults = broken(self.as_helm())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def as_helm(self) -> dict[str, Any]:
        """The values as Helm sees them: camelCase keys."""
        return self.model_dump(mode="json", by_alias=True)
