"""How we read a run, compared with the answers of a real Kubeflow Pipelines 2.17.0 on five runs of our pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiotune.outside.kubeflow_runs import (
    StepPod,
    find_failed_drivers,
    find_failure_line,
    find_step_pods,
    list_steps,
    parse_workflow,
    was_cancelled,
)

RECORDED = Path(__file__).parent / "recorded" / "runs"


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run as v2beta1 gives it, and Argo's account out of v1beta1."""
    found = json.loads((RECORDED / f"{name}.json").read_text())
    return found["run"], parse_workflow({"pipeline_runtime": {"workflow_manifest": json.dumps(found["workflow"])}})


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("failed", [("ingest", "FAILED"), ("segment", None)]),
        ("cached", [("ingest", "SUCCEEDED"), ("segment", "SUCCEEDED")]),
        ("cancelled", [("ingest", "SUCCEEDED"), ("segment", None)]),
        ("driver", [(step, None) for step in ("unwrap", "register", "encode", "finetune", "annotate-merge", "evaluate")]),
        ("running", [("annotate-merge", "SUCCEEDED"), ("encode", "SUCCEEDED"), ("finetune", "RUNNING")]),
    ],
)
def test_of_all_tasks_only_steps_are_steps(name: str, steps: list[tuple[str, str | None]]) -> None:
    run, _ = recorded(name)
    assert [(task["display_name"], task.get("state")) for task in list_steps(run)] == steps
    assert len(run["run_details"]["task_details"]) > 3 * len(steps)


def test_the_failed_step_leads_to_its_pod_and_its_words() -> None:
    _, workflow = recorded("failed")
    [pod] = find_step_pods(workflow, "ingest")
    name = "audio-tune-prepare-2qvx6-retry-system-container-impl-1062722287"
    assert pod == StepPod(name, "audio-tune-prepare-2qvx6-1062722287", "Failed", "main: Error (exit code 1)")
    assert find_failure_line((RECORDED / "failed_log.txt").read_text()).startswith("ingest: nothing was accepted (high_dark")


def test_where_the_launcher_gives_up_that_is_the_reason() -> None:
    log = """time="2026-11-25T04:52:28.904Z" level=info msg="capturing logs" argo=true
I1125 04:52:28.933415      16 main.go:67] Setting log level to: '1'
[100%] 6 recordings, 0 refused
View run finetune at: http://registry:5000
F1125 04:52:28.945003      16 main.go:59] failed to execute component: failed to pre-publish Pod info: execution ID=46 not found
time="2026-11-25T04:52:29.905Z" level=info msg="sub-process exited" argo=true error="exit status 1"
Error: exit status 1
"""
    words = "Kubeflow: failed to execute component: failed to pre-publish Pod info: execution ID=46 not found"
    assert find_failure_line(log) == words
    assert find_failure_line(
        log.replace("failed to pre-publish Pod info: execution ID=46 not found", "exit status 1")
    ).startswith("View run")


def test_a_step_that_never_ran_because_its_driver_failed_leads_to_the_drivers_pod() -> None:
    run, workflow = recorded("driver")
    assert find_failed_drivers(run) == ["annotate-merge"]
    [pod] = find_step_pods(workflow, "annotate-merge")
    assert pod.name == "audio-tune-tune-rjzgx-system-container-driver-2649024142"
    assert all(find_failed_drivers(recorded(name)[0]) == [] for name in ("failed", "cached", "running"))


def test_each_step_has_its_own_pod() -> None:
    _, workflow = recorded("running")
    pods = {step: find_step_pods(workflow, step) for step in ("annotate-merge", "encode", "finetune", "unwrap")}
    assert {step: [pod.phase for pod in found] for step, found in pods.items()} == {
        "annotate-merge": [],  # from the cache: only its driver ran
        "encode": [],
        "finetune": ["Running"],
        "unwrap": [],
    }


def test_the_newest_attempt_comes_first() -> None:
    def node(number: int, way: str) -> dict[str, str]:
        return {"id": f"w-{number}", "name": way, "type": "Pod", "phase": "Failed"}

    ways = ["w(0).root(0).cut(0).executor(2)", "w(0).root(0).cut(0).executor(10)", "w(0).root(0).cut(1).executor(0)"]
    ways += ["w(0).root(0).cut(1).cut-driver(0)", "w(0).root(0).uncut(1).executor(0)"]
    workflow = {"status": {"nodes": {str(n): node(n, way) for n, way in enumerate(ways)}}}
    assert [pod.node for pod in find_step_pods(workflow, "cut")] == ["w-2", "w-1", "w-0", "w-3"]
    plain = {
        "status": {"nodes": {"0": node(7, "w.root.cut.executor")}}
    }  # where an administrator took Argo's default retries away
    assert [pod.name for pod in find_step_pods(plain, "cut")] == ["w-7"]


@pytest.mark.parametrize(("name", "by_hand"), [("failed", False), ("cancelled", True), ("cached", False), ("running", False)])
def test_only_its_history_tells_a_cancelled_run_from_a_failed_one(name: str, by_hand: bool) -> None:
    run, _ = recorded(name)
    assert was_cancelled(run) is by_hand
    assert (run["state"] == "FAILED") is (name in ("failed", "cancelled"))


@pytest.mark.parametrize("answer", [{}, {"pipeline_runtime": {}}, {"pipeline_runtime": {"workflow_manifest": "<html>"}}])
def test_a_server_that_shows_no_workflow_names_no_pods(answer: dict[str, Any]) -> None:
    assert find_step_pods(parse_workflow(answer), "ingest") == []
