"""Values are types: no generated file has drifted, wrong values are refused by name, right values render."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import lint
from pydantic import ValidationError

from deploy.chart import generate, rules
from deploy.chart.values import ChartValues
from tests.rendered_chart import CHART, KUBERNETES, REGISTRY, RefusedError, at, bare, merged, objects, pods, text

VALUES = sorted((CHART.parents[1] / "deploy" / "values").glob("*.yaml"))


def test_nothing_has_drifted() -> None:
    assert generate.list_drifted_files() == []


def test_the_defaults_in_the_file_are_those_of_the_model() -> None:
    written = yaml.safe_load((CHART / "values.yaml").read_text())
    assert ChartValues.model_validate(merged(written, REGISTRY)).as_helm() == merged(written, REGISTRY)


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)
def test_every_values_file_that_ships_fits(path: Path) -> None:
    written = yaml.safe_load((CHART / "values.yaml").read_text())
    ChartValues.model_validate(merged(written, REGISTRY, yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)
def test_every_values_file_that_ships_renders(path: Path) -> None:
    assert list(pods(objects(yaml.safe_load(path.read_text()))))


WRONG: list[tuple[str, Any]] = [
    ("images.registry", "http://registry.home"),
    ("images.pullPolicy", "Sometimes"),
    ("images.pullSecrets", "login"),
    ("images.prepare.digest", "sha256:abc"),
    ("images.prepare.name", ""),
    ("images.typo", "x"),
    ("access.mode", "closed"),
    ("access.firstOwner", "Ana Blue"),
    ("generation.replicas", -1),
    ("generation.replicas", "two"),
    ("generation.queue", 0),
    ("generation.pollSeconds", 0),
    ("generation.keepDays", -1),
    ("generation.allowance.ratePerMinute", 0),
    ("generation.allowance.soundSecondsPerDay", "lots"),
    ("generation.webhooks.hosts", ["https://daw.home/"]),
    ("generation.corsOrigins", ["https://band.example/"]),
    ("generation.tolerations", [{"key": "gpu", "operator": "Exist"}]),
    ("network.ingressFrom", [{"podSelectors": {}}]),
    ("httpRoute.parentRefs", [{"namespace": "gates"}]),
    ("generation.gpu.preset", "rtx-4090"),
    ("generation.gpu.count", 17),
    ("generation.gpu.sharedMemory", "2 GB"),
    ("generation.gpu.device", "magic"),
    ("generation.autoscaling.kind", "vpa"),
    ("generation.resources.limits.memory", "lots"),
    ("generation.resources.requests.gpu", "1"),
    ("generation.cacheSize", 20),
    ("generation.longestSeconds", 0),
    ("generation.env", {"1ST": "x"}),
    ("studio.enabled", "yes"),
    ("studio.uploadLimitMb", 0),
    ("studio.replicas", 2),
    ("registry.kind", "mlflow"),
    ("registry.external.url", "mlflow.example"),
    ("database.name", "My Runs"),
    ("database.external.port", 70_000),
    ("database.external.sslMode", "maybe"),
    ("database.backup.schedule", "daily"),
    ("objectStorage.bucket", "No_Bucket"),
    ("objectStorage.kind", "ceph"),
    ("objectStorage.bundled.size", "100"),
    ("objectStorage.lifecycle.noncurrentDays", -1),
    ("kfp.mode", "yes"),
    ("kfp.endpoint", "ml-pipeline:8888"),
    ("pipelines.gpu.batchSize", 0),
    ("pipelines.retries", 11),
    ("network.blocked", ["169.254.169.254"]),
    ("network.dns.port", 0),
    ("ingress.studioHost", "https://studio.example"),
    ("monitoring.serviceMonitor.intervalSeconds", 0),
    ("pods.runAsUser", 0),
    ("priorityClasses.services", 2_000_000_000),
    ("nothingOfOurs", True),
]


def _words(path: str) -> str:
    """What a reader must find in the message: the last key of the path."""
    return path.rpartition(".")[2]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{p}={v}" for p, v in WRONG])
def test_the_model_refuses_by_name(path: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ChartValues.model_validate(merged(REGISTRY, at(path, value)))
    assert any(_words(path) in {str(part) for part in error["loc"]} for error in caught.value.errors())


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{p}={v}" for p, v in WRONG])
def test_helm_refuses_by_name(path: str, value: Any) -> None:
    with pytest.raises(RefusedError, match=_words(path)):
        text(at(path, value))


BROKEN: dict[str, dict[str, Any]] = {
    "images.registry": {},
    "objectStorage.external.secret": at("objectStorage.kind", "external"),
    "database.external.host": at("database.kind", "external"),
    "database.external.secret": at("database", {"kind": "external", "external": {"host": "db"}}),
    "registry.external.url": at("registry.kind", "external"),
    "kfp.endpoint": at("kfp.mode", "single-user"),
    "generation.autoscaling.maxReplicas": at("generation.autoscaling.minReplicas", 9),
    "generation.autoscaling.prometheusUrl": at("generation.autoscaling.kind", "keda"),
    "ingress.studioHost": at("ingress.enabled", True),
    "httpRoute.parentRefs": at("httpRoute", {"enabled": True, "studioHost": "s.example"}),
    "httpRoute.studioHost": at("httpRoute", {"enabled": True, "parentRefs": [{"name": "gate"}]}),
    "access.mode": merged(at("access.mode", "open"), at("ingress", {"enabled": True, "studioHost": "s.example"})),
    "studio.releasesBy": at("studio.releasesBy", "owners") | at("access.mode", "open"),
    "studio.notices.webhook.secret": at("studio.notices.webhook.url", "https://h.example"),
    "studio.notices.mail.sender": at("studio.notices.mail.host", "mail.example"),
    "studio.notices.matrix.room": at("studio.notices.matrix", {"url": "https://m.example", "secret": "x"}),
    "studio.notices.matrix.secret": at("studio.notices.matrix", {"url": "https://m.example", "room": "!a:m.example"}),
    "studio.oidc.clientId": at("studio.oidc", {"issuer": "https://idp.example", "url": "https://s.example"}),
    "studio.oidc.issuer": at("studio.oidc", {"issuer": "http://idp.example", "clientId": "x", "url": "https://s.example"}),
    "studio.oidc.scopes": at(
        "studio.oidc",
        {"issuer": "https://idp.example", "clientId": "x", "url": "https://s.example", "scopes": "email open-openid"},
    ),
    "studio.oidc.url": at("studio.oidc", {"issuer": "https://idp.example", "clientId": "x"}),
    "generation.replicas": at("generation", {"replicas": 0, "autoscaling": {"kind": "hpa"}}),
    "objectStorage.lifecycle.jobsDays": at("objectStorage.lifecycle.jobsDays", 29),
    "generation.env": at("generation.env", {"AWS_REGION": "x"}),
    "studio.env": at("studio.env", {"HOME": "/x"}),
}


def test_every_rule_has_a_case() -> None:
    assert {rule.key for rule in rules.RULES} == set(BROKEN)


@pytest.mark.parametrize("key", BROKEN)
def test_python_and_helm_refuse_alike(key: str) -> None:
    values = BROKEN[key] if key == "images.registry" else merged(REGISTRY, BROKEN[key])
    with pytest.raises(ValidationError, match=key.replace(".", r"\.")):
        ChartValues.model_validate(values)
    with pytest.raises(RefusedError, match=key.replace(".", r"\.")):
        bare(values)


def test_a_public_address_has_no_path() -> None:
    """The studio answers at the root of its name and refuses to start with another address."""
    oidc = {"issuer": "https://idp.example", "clientId": "x", "url": "https://band.example/studio"}
    with pytest.raises(RefusedError, match=r"studio\.oidc\.url"):
        text({"studio": {"oidc": oidc}})
    assert text({"studio": {"oidc": {**oidc, "url": "https://band.example/"}}})


def test_helm_lints() -> None:
    report = lint(CHART, REGISTRY, strict=True, kube_version=KUBERNETES)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []
