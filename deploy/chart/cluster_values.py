"""Values of what surrounds our pods: images, network, routes, monitoring, and what all pods have in common."""

from typing import Literal

from pydantic import Field

from deploy.chart.value_types import (
    ChartModel,
    Cidr,
    HostNameValues,
    ImageReference,
    Labels,
    Name,
    NetworkPeer,
    Port,
    Seconds,
    Url,
    define_image,
)


class ImageValues(ChartModel):
    """Where images are. Only the registry has no default."""

    registry: str = Field(
        default="",
        pattern=r"^([a-z0-9.\-]+(:[0-9]+)?(/[a-z0-9._/\-]+)?)?$",
        description="host/prefix that all images are pulled from, as in registry.home:5000; `make images REGISTRY=...` pushes them there",
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(default="IfNotPresent", description="when nodes pull")
    pull_secrets: list[Name] = Field(default=[], description="Secrets with the registry's login")
    prepare: ImageReference = define_image("audio-tune/prepare", "light steps and the chart's jobs")
    train: ImageReference = define_image("audio-tune/train", "steps with torch, and helm test")
    generation: ImageReference = define_image("audio-tune/generation", "the generation service")
    studio: ImageReference = define_image("audio-tune/studio", "the studio")
    mlflow: ImageReference = define_image("audio-tune/registry", "MLflow")
    object_store: ImageReference = define_image("audio-tune/object-store", "MinIO")
    database: ImageReference = define_image(
        "postgres", "PostgreSQL 15; the official image, not tested here", registry="docker.io/library", tag="15"
    )


class DnsValues(ChartModel):
    """Where names are resolved."""

    namespace: Name = Field(default="kube-system", description="namespace of the cluster's DNS")
    labels: Labels = Field(default={"k8s-app": "kube-dns"}, description="labels of its pods")
    port: Port = Field(default=53, description="port of its pods (5353 on OpenShift)")
    cidrs: list[Cidr] = Field(default=[], description="more addresses, as in 169.254.20.10/32 for NodeLocal DNSCache")


class NetworkValues(ChartModel):
    """Which connections are allowed: those in files/graph.yaml."""

    policies: bool = Field(default=True, description="deny by default, and one policy for each arrow of the service graph")
    ingress_from: list[NetworkPeer] = Field(
        default=[],
        description="NetworkPolicy peers that may reach studio and generation; empty with a route on: any pod of the cluster",
    )
    listen_address: Literal["0.0.0.0", "::"] = Field(
        default="0.0.0.0",
        description="where our programs and the bundled registry listen in their pods; :: in clusters with IPv6 only",
    )
    dns: DnsValues = Field(default=DnsValues(), description="where names are resolved")
    api_ports: list[Port] = Field(default=[443, 6443], description="ports of the Kubernetes API")
    blocked: list[Cidr] = Field(default=["169.254.169.254/32"], description="addresses that no pod reaches: clouds' metadata")


class IngressValues(HostNameValues):
    """An Ingress for studio and API."""

    enabled: bool = Field(default=False, description="create it")
    class_name: str = Field(default="", description="ingress class; empty takes the cluster's default")
    tls_secret: Name = Field(default="", description="Secret with the certificate; empty: no TLS here")


class GatewayReference(ChartModel):
    """A Gateway, or one of its listeners."""

    name: str = Field(min_length=1, max_length=253, description="its name")
    namespace: Name | None = Field(default=None, min_length=1, description="its namespace; null: this one")
    section_name: str | None = Field(default=None, min_length=1, max_length=253, description="one listener of it")
    port: Port | None = Field(default=None, description="one port of it")
    group: str | None = Field(default=None, max_length=253, description="API group; null: the Gateway API's own")
    kind: str | None = Field(default=None, min_length=1, max_length=63, description="null: Gateway")


class HttpRouteValues(HostNameValues):
    """An HTTPRoute of the Gateway API for studio and API."""

    enabled: bool = Field(default=False, description="create it")
    parent_refs: list[GatewayReference] = Field(default=[], description="Gateways it is attached to")


class ServiceMonitorValues(ChartModel):
    """What the Prometheus operator scrapes."""

    enabled: bool = Field(default=False, description="make ServiceMonitors (their CRD must be there)")
    interval_seconds: Seconds = Field(default=30, description="seconds between scrapes")
    labels: Labels = Field(default={}, description="labels by which Prometheus finds them")


class AlertRuleValues(ChartModel):
    """Alerts for the Prometheus operator, each with a runbook."""

    enabled: bool = Field(default=False, description="make a PrometheusRule (its CRD must be there)")
    labels: Labels = Field(default={}, description="labels by which Prometheus finds it")
    runbooks_url: Url = Field(
        default="", description="where docs/operations/troubleshooting.md is published; empty: file and section"
    )


class DashboardValues(ChartModel):
    """A dashboard that Grafana's sidecar finds."""

    enabled: bool = Field(default=False, description="make the ConfigMap")
    labels: Labels = Field(default={"grafana_dashboard": "1"}, description="labels the sidecar looks for")


class MonitoringValues(ChartModel):
    """Metrics, alerts and a dashboard."""

    service_monitor: ServiceMonitorValues = Field(default=ServiceMonitorValues(), description="what is scraped")
    rules: AlertRuleValues = Field(default=AlertRuleValues(), description="alerts")
    dashboard: DashboardValues = Field(default=DashboardValues(), description="Grafana")
    scrape_from: list[NetworkPeer] = Field(
        default=[],
        description="NetworkPolicy peers that scrape; empty with a ServiceMonitor on: pods of the namespace `monitoring`",
    )


class PodValues(ChartModel):
    """What all our pods have in common."""

    run_as_user: int | None = Field(
        default=10001, ge=1, le=4_294_967_295, description="user; null lets the platform choose one (OpenShift)"
    )
    fs_group: int | None = Field(default=10001, ge=1, le=4_294_967_295, description="group that owns volumes; null as above")
    priority_class_name: str = Field(default="", description="priority class of all pods without one of their own")
    labels: Labels = Field(default={}, description="labels of all pods")


class PriorityClassValues(ChartModel):
    """Two classes: services above jobs. Cluster-wide objects, so off by default."""

    create: bool = Field(default=False, description="make <release>-services and <release>-jobs and use them")
    services: int = Field(default=100_000, ge=-1_000_000_000, le=1_000_000_000, description="value of the services' class")
    jobs: int = Field(default=1_000, ge=-1_000_000_000, le=1_000_000_000, description="value of the jobs' class")
