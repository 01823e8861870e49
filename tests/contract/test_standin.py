"""The stand-in for Kubeflow's backend replays a recorded run of the real one and must come to the same ExecutorInputs."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.documents import read_documents
from tests.e2e.standin.driver import Run
from tests.e2e.standin.pods import pod

RECORDED = Path(__file__).parent / "recorded"
SESSION = {
    "Provider": "s3",
    "Params": {
        "accessKeyKey": "accesskey", "disableSSL": "true", "endpoint": "minio.kubeflow.svc.cluster.local:9000",
        "forcePathStyle": "true", "fromEnv": "false", "maxRetries": "5", "region": "us-east-1", "secretKeyKey": "secretkey",
        "secretName": "audiotune-store",
    },
}  # fmt: skip
IDS = {"make": (119, 1, 2), "train": (121, 122), "report": (3, 4, 5)}


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def recorded_run() -> Run:
    documents = read_documents(RECORDED / "probe_pipeline.yaml")
    return Run(documents, {"text": "mu"}, "ffde30c8-e254-4438-8c3b-98553711dec5", "mu", "s3://audiotune/kfp", SESSION)


def session_apart(value: Any) -> Any:
    """`store_session_info` is a text of JSON whose order of keys is nobody's business."""
    if isinstance(value, dict):
        return {k: json.loads(v) if k == "store_session_info" else session_apart(v) for k, v in value.items()}
    return [session_apart(v) for v in value] if isinstance(value, list) else value


def execution(given: dict[str, Any]) -> str:
    found = re.search(r"/([0-9a-f-]{36})/output_metadata.json", given["outputs"]["outputFile"])
    assert found
    return found.group(1)


def test_the_recorded_run_comes_out_the_same() -> None:
    run = recorded_run()
    assert run.order() == ["make", "train", "report"]
    for task in run.order():
        wanted = recording(f"{task}.executor_input")
        given = run.executor_input(task, execution(wanted))
        assert session_apart(given) == session_apart(wanted)
        run.ids = iter(IDS[task])
        run.publish(task, given, recording(f"{task}.executor_output"))


def test_the_recorded_pod_comes_out_the_same() -> None:
    run = recorded_run()
    run.ids = itertools.count(1)
    run.publish("make", run.executor_input("make", "0"), {**recording("make.executor_output"), "artifacts": {}})
    made = pod(run, "train", run.executor_input("train", "1"), "p", "pipeline-runner")
    wanted, (main,) = recording("train.pod"), made["spec"]["containers"]
    for key in ("activeDeadlineSeconds", "serviceAccountName", "nodeSelector", "securityContext"):
        assert made["spec"][key] == wanted[key]
    assert (main["image"], main["env"], main["resources"]) == (
        wanted["main"]["image"], wanted["main"]["env"], wanted["main"]["resources"],
    )  # fmt: skip
    assert main["securityContext"] == {**wanted["main"]["securityContext"], "runAsUser": 1000, "runAsGroup": 1000}
    backend = {"/kfp-launcher", "/var/run/argo", "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert {m["mountPath"] for m in main["volumeMounts"]} - {"/standin"} == set(wanted["main"]["mountPaths"]) - backend
    assert wanted["dshm"] in made["spec"]["volumes"]
    assert made["metadata"]["labels"]["app.kubernetes.io/part-of"] == "audio-tune"


def test_a_null_or_another_address_fails_a_finished_step() -> None:
    run = recorded_run()
    given = run.executor_input("make", "0")
    written = recording("make.executor_output")
    own = json.loads(json.dumps(written).replace(execution(recording("make.executor_input")), "0"))
    own["artifacts"]["clips"]["artifacts"][0]["metadata"]["rows"] = None
    with pytest.raises(ValueError, match="rows is null"):
        run.publish("make", given, own)
    with pytest.raises(ValueError, match="expected bucket prefix"):
        run.publish("make", given, written)  # of another execution
    assert run.done == {}


def test_the_cache_key_is_of_names_not_of_contents() -> None:
    first, second = recorded_run(), recorded_run()
    assert first.cache_key("make") == second.cache_key("make")
    second.arguments["n"] = 3
    assert first.cache_key("make") != second.cache_key("make")
    third = recorded_run()
    third.spec["deploymentSpec"]["executors"]["exec-make"]["container"]["env"] = [{"name": "A", "value": "b"}]
    assert first.cache_key("make") == third.cache_key("make")
    assert [first.cached(task) for task in first.order()] == [True, False, True]
