"""MLflow of the chart asks for a key: who holds which one, and where the keys come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_chart_notes import KFP as SINGLE_USER
from tests.contract.test_chart_notes import part, run
from tests.rendered_chart import Object, containers, notes, objects, one, pods

KFP = {"kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}}
EXTERNAL = {"registry": {"kind": "external", "external": {"url": "https://mlflow.example", "tokenSecret": "login"}}}
WRITES, READS = "audio-tune-registry-pipelines", "audio-tune-registry-generation"


def tokens(found: list[Object]) -> set[tuple[str, str, str, str]]:
    """(pod, container, variable, Secret) of every variable that is the key `token` of a Secret."""
    return {
        (name, container["name"], variable["name"], reference["name"])
        for name, spec in pods(found)
        for container in containers(spec)
        for variable in container.get("env", [])
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef", {})).get("key") == "token"
    }


def test_generation_only_reads_and_only_the_test_and_the_job_of_withdrawals_write() -> None:
    assert tokens(objects()) == {
        ("audio-tune-registry", "registry", "AUDIOTUNE_REGISTRY_WRITE_KEY", WRITES),
        ("audio-tune-registry", "registry", "AUDIOTUNE_REGISTRY_READ_KEY", READS),
        ("audio-tune-generation", "generation", "MLFLOW_TRACKING_TOKEN", READS),
        ("audio-tune-withdrawals", "withdrawals", "MLFLOW_TRACKING_TOKEN", WRITES),
        ("audio-tune-journey", "generation", "MLFLOW_TRACKING_TOKEN", READS),
        ("audio-tune-journey", "journey", "MLFLOW_TRACKING_TOKEN", WRITES),
    }


def test_the_server_asks_for_a_key() -> None:
    (container,) = one(objects(), "Deployment", "registry")["spec"]["template"]["spec"]["containers"]
    assert "--app-name=audio-tune" in container["command"]


def wanted_secrets(values: dict[str, Any]) -> dict[str, Any]:
    found = one(objects(values), "ConfigMap", "secrets")["data"]
    (spec,) = [json.loads(text) for name, text in found.items() if name.endswith(".json")]
    return {secret["name"]: secret["data"] for secret in spec["secrets"]}


def test_the_keys_are_made_once_by_the_job_that_runs_before_an_upgrade() -> None:
    made = wanted_secrets({})
    assert made[WRITES] == made[READS] == {"token": {"random": 40}}
    job = one(objects(), "Job", "secrets")
    assert "pre-upgrade" in job["metadata"]["annotations"]["helm.sh/hook"]
    readable = [name for rule in one(objects(), "Role", "secrets")["rules"] for name in rule.get("resourceNames", [])]
    assert {WRITES, READS} <= set(readable)


def test_an_mlflow_of_your_own_brings_its_own_token() -> None:
    assert not [name for name in wanted_secrets(EXTERNAL) if "registry-" in name]
    found = tokens(objects(EXTERNAL))
    assert {secret for *_, secret in found} == {"login"}
    assert {pod for pod, *_ in found} == {"audio-tune-generation", "audio-tune-journey", "audio-tune-withdrawals"}


@pytest.mark.parametrize(
    ("values", "secret"),
    [({}, WRITES), (EXTERNAL, "login"), ({"registry": {**EXTERNAL["registry"], "external": {"url": "https://m"}}}, "")],
)
def test_the_steps_write_with_the_pipelines_key(values: dict[str, Any], secret: str) -> None:
    facts = json.loads(one(objects(values), "ConfigMap", "cluster")["data"]["cluster.json"])
    assert facts["cluster"]["mlflow_secret"] == secret


def test_the_studio_has_no_way_to_mlflow() -> None:
    studio = one(objects(KFP), "Deployment", "studio")["spec"]["template"]["spec"]["containers"][0]
    assert not [variable for variable in studio["env"] if variable["name"].startswith("MLFLOW")]
    assert not [found for found in objects(KFP) if "studio-to-registry" in found["metadata"]["name"]]


def test_the_key_goes_to_kubeflows_own_namespace_by_the_notes(tmp_path: Path) -> None:
    calls = run(tmp_path, part(notes(SINGLE_USER), f"get secret {WRITES} \\", "apply -f -"))
    template = json.loads(next(call for call in calls if "get secret" in call).partition("go-template=")[2])
    assert template["metadata"] == {"name": WRITES}
    assert template["data"] == {"token": "{{.data.token}}"}
    assert any(call.startswith("-n kubeflow apply -f -") for call in calls)


def test_the_notes_tell_how_to_look_at_mlflow(tmp_path: Path) -> None:
    shown = run(tmp_path, next(line for line in notes().splitlines() if "get secret" in line and WRITES in line))
    assert shown == [f"-n audio-tune get secret {WRITES} -o go-template={{{{.data.token | base64decode}}}}"]
    assert "port-forward svc/audio-tune-registry 5000" in notes()
    assert WRITES not in notes(EXTERNAL)
