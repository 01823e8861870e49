"""The chart and the programs fit: an alert reads a metric that the service serves, and the rights are those of the manifests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from pipelines.cluster.namespace import REPOSITORY, build_log_repository
from pipelines.cluster.namespace import build_step_rules as step_rights
from pipelines.cluster.settings import Cluster
from services.studio.__main__ import build_parser
from tests.fakes.in_process_service import InProcessService
from tests.rendered_chart import CHART, Object, merged, objects, one

ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
DOCS = CHART.parents[1] / "docs" / "operations"
KFP = {"kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}}
# Of other programs: what scrapes them is not ours to name.
FOREIGN = {
    "up": "Prometheus itself",
    "minio_cluster_capacity_usable_free_bytes": "MinIO, /minio/v2/metrics/cluster",
    "minio_cluster_capacity_usable_total_bytes": "MinIO, /minio/v2/metrics/cluster",
    "kube_cronjob_status_last_successful_time": "kube-state-metrics",
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_runbook(alert: Object) -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    section = re.search(rf"^### {alert['alert']}\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, "no section of this name"
    assert len(section.group(1)) > 60


def test_every_rule_points_at_its_runbook() -> None:
    url = "https://docs.example/troubleshooting"
    rules = one(objects({"monitoring": {"rules": {"enabled": True, "runbooksUrl": url}}}), "PrometheusRule", "alerts")
    found = rules["spec"]["groups"][0]["rules"]
    assert [rule["alert"] for rule in found] == [alert["alert"] for alert in ALERTS]
    for rule in found:
        assert rule["annotations"]["runbook_url"] == f"{url}#{rule['alert'].lower()}"


def metrics_in(expression: str) -> set[str]:
    """Names in an expression: what is left without labels, ranges, groupings, functions and the template's own words."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on)\s*\([^)]*\)", "", re.sub(r'"[^"]*"', "", expression))
    return set(re.findall(r"\b[a-z_:][a-z0-9_:]*\b(?!\s*\()", bare)) - {"and", "or", "unless"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in what GET /metrics of the real HTTP API answers, after one sound."""
    with InProcessService(tmp_path_factory.mktemp("store")) as bench:
        assert bench.post().status_code == 200
        found = bench.client.get("/metrics").text
    return set(re.findall(r"^(\w+)", found, re.MULTILINE))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_reads_what_is_really_there(alert: Object, exposed: set[str]) -> None:
    named = metrics_in(alert["expr"])
    assert named
    assert named <= exposed | set(FOREIGN), "no such metric"


def test_the_dashboard_reads_what_is_really_there(exposed: set[str]) -> None:
    expressions = _panels(json.loads((CHART / "files" / "dashboard.json").read_text()))
    assert len(expressions) > 3
    named = {name for expression in expressions for name in metrics_in(expression)}
    assert named <= exposed | set(FOREIGN)


def test_autoscaling_reads_what_is_really_there(exposed: set[str]) -> None:
    hpa = one(objects({"generation": {"autoscaling": {"kind": "hpa"}}}), "HorizontalPodAutoscaler", "generation")
    assert {metric["pods"]["metric"]["name"] for metric in hpa["spec"]["metrics"]} <= exposed
    keda = {"generation": {"autoscaling": {"kind": "keda", "prometheusUrl": "http://p"}}}
    scaled = one(objects(keda, api_versions="keda.sh/v1alpha1/ScaledObject"), "ScaledObject", "generation")
    assert metrics_in(scaled["spec"]["triggers"][0]["metadata"]["query"]) <= exposed


def _panels(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "expr"] + [e for v in node.values() for e in _panels(v)]
    return [e for item in node for e in _panels(item)] if isinstance(node, list) else []


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_steps_rights_are_those_of_the_manifests(nodes: int) -> None:
    made = one(objects(merged(KFP, {"pipelines": {"nodes": nodes}})), "Role", "steps")
    assert made["rules"] == step_rights(Cluster(store_secret="audio-tune-store-pipelines", nodes=nodes))


_EXTERNAL = {"secret": "keys", "endpoint": ""}
_BAND = {"kind": "external", "bucket": "band", "prefix": "our/own", "region": "eu-west-1", "external": _EXTERNAL}
_BUNDLED_STORE = {
    "store": "s3://audio-tune",
    "store_endpoint": "http://audio-tune-object-store.audio-tune.svc:9000",
    "store_region": "us-east-1",
}
_BAND_STORE = {"store": "s3://band/our/own", "store_endpoint": "", "store_region": "eu-west-1", "store_secret": "keys"}


@pytest.mark.parametrize(("values", "facts"), [({}, _BUNDLED_STORE), ({"objectStorage": _BAND}, _BAND_STORE)])
def test_the_log_archive_is_that_of_the_manifests(values: dict[str, Any], facts: dict[str, str]) -> None:
    made = one(objects(merged(KFP, values)), "ConfigMap", "artifact-repositories")
    name = made["metadata"]["annotations"][REPOSITORY]
    secret = {"store_secret": "audio-tune-store-pipelines"}
    assert yaml.safe_load(made["data"][name]) == yaml.safe_load(build_log_repository(Cluster(**{**secret, **facts})))


def test_the_studio_waits_for_its_store_as_long_as_its_probe_lets_it_start() -> None:
    studio = one(objects({}), "Deployment", "studio")["spec"]["template"]["spec"]["containers"][0]
    given = build_parser().parse_args(studio["command"][3:])
    probe = studio["startupProbe"]
    assert 120 <= float(given.store_wait_s) <= probe["periodSeconds"] * probe["failureThreshold"] - 60
