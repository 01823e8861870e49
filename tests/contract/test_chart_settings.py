"""The chart and the settings classes of our programs say the same: every setting is a value, is decided by the chart, or is left alone
for a reason; what a program refuses, the chart refuses; what the chart renders, the program loads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from deploy.chart.service_settings import ServiceSetting, take_setting
from deploy.chart.service_values import CHART_DECIDES
from deploy.chart.value_fields import ValueField, build_defaults, list_value_fields
from deploy.chart.value_types import ChartModel
from pipelines.cluster.settings import Cluster, load_cluster
from services.generation.settings import GenerationSettings as Generation
from services.governance.settings import GovernanceSettings as Governance
from services.governance.settings import load_governance_settings
from services.studio.settings import StudioSettings as Studio
from services.studio.settings import load_studio_settings
from tests.rendered_chart import RefusedError, at, merged, objects, one, text

KFP = {
    "mode": "multi-user",
    "endpoint": "http://ml-pipeline.kubeflow:8888",
    "pages": "https://kubeflow.example/pipeline",
    "tokenSecret": "t",
}
OIDC = {"issuer": "https://login.example", "clientId": "band", "secret": "login", "url": "https://s.example", "caConfigMap": "ca"}
WEBHOOKS = {"secret": "signs", "hosts": ["daw.home"]}
NOTICES = {
    "webhook": {"url": "https://hook.example/x", "secret": "signs"},
    "mail": {"host": "mail.example", "user": "tune", "secret": "mail", "sender": "tune@band.example"},
    "matrix": {"url": "https://matrix.example", "room": "!abc:band.example", "secret": "matrix"},
    "hosts": ["mail.home:25"],
}
EVERY = {"kfp": KFP, "generation": {"webhooks": WEBHOOKS}, "studio": {"oidc": OIDC, "notices": NOTICES}}
LEFT_ALONE = {
    Generation: {
        "registry_secret": "in a cluster the alias is looked at every pollSeconds; MLflow is let out to nobody",
        "lease_s": "a matter between pods; its default fits every cluster",
        "jobs_poll_s": "as lease_s",
        "cancel_s": "as lease_s",
        "body_s": "protects the service; its default fits every cluster",
        "head_s": "as body_s",
        "open_requests": "as body_s; how much work may wait has values",
        "member_streams": "as open_requests",
    },
    Studio: {
        "host": "given as a flag",
        "port": "given as a flag",
        "store_wait_s": "given as a flag, as long as the startup probe allows",
        "store": "AUDIOTUNE_STORE, for all services",
        "recipe": "runs are started in Kubeflow, whose pipelines carry the preset's recipe",
        "run_limit_s": "bounds runs on this machine; in a cluster they are Kubeflow's",
        "kfp_pipeline": "the chart uploads the pipeline under this name",
        "kfp_tune": "as kfp_pipeline",
        "tune_limit_s": "as run_limit_s",
    },
    Governance: {
        "body_kb": "protects the service; its default fits every cluster",
        "body_s": "as body_kb",
        "open_requests": "as body_kb",
        "passwords_at_once": "as body_kb; more would need more memory",
    },
    Cluster: {
        "governance": "the Service of this release",
        "governance_secret": "governance.secrets.ingest",
        "store": "made of objectStorage, as for the services",
        "store_endpoint": "as store",
        "store_region": "as store",
        "store_secret": "the Secret of the store's user for pipelines",
        "store_ca_secret": "Kubeflow's launcher takes no certificate of an own authority",
        "mlflow": "made of registry, as for the services",
        "mlflow_secret": "as mlflow: the pipelines' key",
        "images": "made of images",
        "bases": "bases, which a job copies",
        "pull_secrets": "a step's pod takes them from its service account",
        "pull_policy": "the compiled pipelines name digests",
        "gpu_resource": "pipelines.gpu.resource; steps on the CPU keep the default",
        "gpu_node_selector": "pipelines.gpu.nodeSelector",
        "gpu_taint": "the first of pipelines.gpu.tolerations, for readers of before",
        "gpu_tolerations": "pipelines.gpu.tolerations, beside the table",
        "environment": "the steps take what their recipe says",
    },
}
PARTS = {"generation": Generation, "studio": Studio}
VALUES = [field for field in list_value_fields(build_defaults()) if field.setting]


def environment(part: str, values: dict[str, Any]) -> dict[str, str]:
    container = one(objects(values), "Deployment", part)["spec"]["template"]["spec"]["containers"][0]
    return {e["name"]: e.get("value", "from a Secret") for e in container["env"]}


def load_cluster_file(values: dict[str, Any], folder: Path) -> Cluster:
    (folder / "cluster.json").write_text(one(objects(values), "ConfigMap", "cluster")["data"]["cluster.json"])
    return load_cluster(folder / "cluster.json")


@pytest.mark.parametrize("settings", LEFT_ALONE, ids=lambda settings: settings.__module__)
def test_every_setting_is_a_value_or_the_charts_own_or_left_alone_for_a_reason(settings: type[BaseModel]) -> None:
    by_value = {field.setting.name for field in VALUES if field.setting and field.setting.settings is settings}
    by_chart = {setting.name for setting in CHART_DECIDES if setting.settings is settings}
    assert not by_value & by_chart
    assert set(settings.model_fields) - by_value - by_chart == set(LEFT_ALONE[settings])
    assert all(setting.reason for setting in CHART_DECIDES)


@pytest.mark.parametrize("part", PARTS)
def test_what_the_chart_gives_is_what_the_service_knows(part: str) -> None:
    settings, given = PARTS[part], environment(part, EVERY)
    known = {ServiceSetting(settings, name).variable: name for name in settings.model_fields}
    assert {name for name in given if name.startswith(f"AUDIOTUNE_{part.upper()}_")} <= set(known)
    covered = {known[name] for name in given if name in known} | ({"access"} & set(settings.model_fields))
    assert given["AUDIOTUNE_ACCESS"] == "members"
    assert set(settings.model_fields) - covered == set(LEFT_ALONE[settings])


def test_the_generation_service_takes_the_settings_of_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("generation", EVERY).items():
        monkeypatch.setenv(name, value)
    made = Generation()
    assert (made.queue, made.keep_days, made.rate_per_minute, made.webhook_hosts) == (64, 30.0, 600, "daw.home")
    assert made.patience_s == made.drain_s == 900


def test_the_defaults_of_the_values_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("generation", {}).items():
        monkeypatch.setenv(name, value)
    made, plain = Generation(), Generation.model_construct()
    differ = {name for name in Generation.model_fields if getattr(made, name) != getattr(plain, name)}
    assert differ == {"release", "batch", "device", "drain_s"}  # the preset's, and the pod's grace


def test_the_studio_takes_the_settings_of_the_chart() -> None:
    made = load_studio_settings(environment("studio", EVERY))
    assert (made.access, made.kfp_namespace, made.upload_limit_mb) == ("members", "audio-tune", 6000)


def test_the_governance_service_takes_the_settings_of_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment("governance", EVERY)
    known = {ServiceSetting(Governance, name).variable for name in Governance.model_fields}
    assert {name for name in given if name.startswith("AUDIOTUNE_GOVERNANCE_")} <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value * 2 if value == "from a Secret" else value)
    made = load_governance_settings()
    assert (made.oidc_issuer, made.oidc_client_id, made.oidc_ca) == (OIDC["issuer"], "band", "/etc/audio-tune/oidc/ca.crt")
    assert made.ingest_key.get_secret_value()
    assert not [name for name in environment("governance", {}) if "OIDC" in name]  # passwords prove who signs in


def test_every_caller_of_the_governance_service_has_its_own_key_and_no_other(tmp_path: Path) -> None:
    studio = {e["name"]: e for e in container_of("studio")["env"]}
    assert studio["AUDIOTUNE_GOVERNANCE_URL"]["value"] == "http://audio-tune-governance.audio-tune.svc:7870"
    secrets = {
        key: e["valueFrom"]["secretKeyRef"]["name"] for key, e in studio.items() if "GOVERNANCE" in key and "valueFrom" in e
    }
    assert secrets == {"AUDIOTUNE_GOVERNANCE_KEY": "audio-tune-governance-studio"}
    facts = load_cluster_file({"kfp": KFP}, tmp_path)
    assert (facts.governance, facts.governance_secret) == (
        studio["AUDIOTUNE_GOVERNANCE_URL"]["value"],
        "audio-tune-governance-ingest",
    )
    assert not [e for e in container_of("generation")["env"] if "GOVERNANCE" in e["name"]]


def container_of(part: str) -> Any:
    return one(objects(EVERY), "Deployment", part)["spec"]["template"]["spec"]["containers"][0]


def test_the_steps_take_the_settings_of_the_chart(tmp_path: Path) -> None:
    made = load_cluster_file(merged(EVERY, at("pipelines.gpu", {"preset": "l4-24gb"})), tmp_path)
    assert (made.gpus, made.batch_size, made.recipe, made.service_account) == (1, 8, "lora_24gb", "pipeline-runner")
    assert (made.retries, made.gpu_timeout_s, made.memory_limit) == (2, 604_800, "8Gi")


def list_edges(setting: ServiceSetting, whole: bool) -> Iterator[tuple[Any, Any]]:
    """(just inside, just outside) for each bound of a setting."""
    step = 1 if whole else 0.001
    annotation = setting.field.annotation
    if get_origin(annotation) is Literal:
        yield from ((choice, f"{choice}-not") for choice in get_args(annotation))
    for rule in setting.field.metadata:
        for bound, sign in (("ge", -1), ("le", 1)):
            if (edge := getattr(rule, bound, None)) is not None:
                yield edge, edge + sign * step
        for bound, sign in (("gt", -1), ("lt", 1)):
            if (edge := getattr(rule, bound, None)) is not None:
                yield edge - sign * step, edge
        if (least := getattr(rule, "min_length", None)) is not None:
            yield "x" * least, "x" * (least - 1)
        if (most := getattr(rule, "max_length", None)) is not None:
            yield "x" * most, "x" * (most + 1)
        if getattr(rule, "pattern", None):
            yield "7Gi", "7 GB"


def _list_cases() -> Iterator[Any]:
    for field in VALUES:
        assert field.setting
        for inside, outside in list_edges(field.setting, field.kind.startswith("integer")):
            yield pytest.param(field, inside, outside, id=f"{field.name}={inside}, not {outside}"[:80])


def test_the_bounds_are_many() -> None:
    """A change of pydantic that hid them from this test would leave it empty and green."""
    bounded = {case.values[0].name for case in _list_cases()}
    assert {"generation.gpu.batchSize", "studio.oidc.name", "pipelines.retries", "access.mode"} <= bounded
    assert len(list(_list_cases())) > 55


@pytest.mark.parametrize(("field", "inside", "outside"), list(_list_cases()))
def test_the_chart_refuses_what_the_program_refuses(
    field: ValueField, inside: Any, outside: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = field.setting
    assert setting
    given = merged(EVERY, at("objectStorage.lifecycle.jobsDays", 0))  # a rule compares it with generation.keepDays
    if inside == "open":  # which sign-in at a provider contradicts
        given = merged(given, at("studio.oidc.issuer", ""))
    with pytest.raises(ValidationError):
        setting.settings(**{setting.name: outside})
    with pytest.raises(RefusedError, match=field.path[-1]):
        text(merged(given, at(field.name, outside)))

    values = merged(given, at(field.name, inside))
    if setting.settings is Cluster:
        loaded: BaseModel = load_cluster_file(values, tmp_path)
    elif setting.settings is Studio:
        loaded = load_studio_settings(environment("studio", values))
    else:
        for name, value in environment("generation", values).items():
            monkeypatch.setenv(name, value)
        loaded = Generation()
    found = getattr(loaded, setting.name)
    assert math.isclose(found, inside) if isinstance(inside, float) else found == inside


def test_a_value_of_another_type_than_its_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be GenerationSettings.queue"):

        class Wrong(ChartModel):
            queue: str = take_setting(Generation, "queue")


@pytest.mark.parametrize("how", [{"default": 65}, {"reason": "none is needed"}])
def test_a_default_that_differs_needs_a_reason(how: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="GenerationSettings.queue: a default that differs"):
        take_setting(Generation, "queue", **how)


def test_the_chart_takes_over_what_a_setting_says() -> None:
    info = take_setting(Studio, "oidc_name", default="the band", reason="theirs")
    assert (info.default, info.description) == ("the band", Studio.model_fields["oidc_name"].description)
    assert [rule.max_length for rule in info.metadata if hasattr(rule, "max_length")] == [60]
