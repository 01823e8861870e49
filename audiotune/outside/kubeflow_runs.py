"""Reads a run of Kubeflow Pipelines: its steps, their pods, and the reason in their logs. Tested with 2.17.0 and Argo 4.0.5.

The API's list of tasks is Argo's tree, flattened and without order. Besides the steps it contains each step's driver and executor,
every attempt as `step(0)`, the root and the workflow itself. No task names its pod; Argo's own record of the run does.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audiotune.reporting.last_words import find_last_words

KubeflowRun = dict[str, Any]
# Lines of the launcher and of Argo, which never say the reason.
_NO_REASON = re.compile(r'[IWEF]\d{4} |time="|Error: exit status|exit status')
_FATAL = re.compile(r"^F\d{4} [^\]]*\] (.*)$")
_STEP_FAILED = re.compile(r"exit status \d+$|signal: ")  # the launcher reports that the step itself ended
_ATTEMPT = re.compile(r"\((\d+)\)$")
_NUMBER = re.compile(r"-\d+$")  # what Argo appends to the workflow's name to name a node


@dataclass(frozen=True)
class StepPod:
    """One attempt of a step.

    Attributes:
        name: of the pod; it finds the log of a pod that still runs.
        node: Argo's id of it; older versions of Argo name pods by it.
        phase: Pending, Running, Succeeded, Failed or Error.
        message: Kubernetes' message about it, as in "Unschedulable: ..."; may be empty.
    """

    name: str
    node: str
    phase: str
    message: str


def list_steps(run: KubeflowRun) -> list[dict[str, Any]]:
    """The tasks that are steps, in the order in which they began; those that never began have no state and come last."""
    tasks = _read_tasks(run)
    children = (str(child.get("pod_name") or "") for task in tasks for child in task.get("child_tasks") or [])
    others = {"root", "executor", *(_NUMBER.sub("", child) for child in children)}
    steps = [task for task in tasks if _is_own_step(str(task.get("display_name") or ""), others)]
    return sorted(steps, key=lambda task: str(task.get("start_time") or "~") if task.get("state") else "~")


def find_failed_drivers(run: KubeflowRun) -> list[str]:
    """Steps that never ran because Kubeflow failed before them, for example for a wrong Secret or lost metadata."""
    names = [str(task.get("display_name") or "") for task in _read_tasks(run) if task.get("state") == "FAILED"]
    return sorted(name.removesuffix("-driver") for name in names if name.endswith("-driver"))


def _read_tasks(run: KubeflowRun) -> list[dict[str, Any]]:
    return (run.get("run_details") or {}).get("task_details") or []


def _is_own_step(name: str, others: set[str]) -> bool:
    return bool(name) and name not in others and not name.endswith("-driver") and not _ATTEMPT.search(name)


def was_cancelled(run: KubeflowRun) -> bool:
    """Whether somebody cancelled the run. Its state is FAILED afterwards; only its history shows the difference."""
    states = {str(past.get("state")) for past in run.get("state_history") or []}
    words = str((run.get("error") or {}).get("message") or "")
    return "workflow deadline" in words or bool({"CANCELING", "CANCELED"} & {*states, str(run.get("state"))})


def parse_workflow(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Argo's record of a run, from an answer of v1beta1, the only version of the API that has it; empty when it is missing."""
    text = (answer.get("pipeline_runtime") or {}).get("workflow_manifest") or "{}"
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def find_step_pods(workflow: Mapping[str, Any], step: str) -> list[StepPod]:
    """The pods that ran a step, the newest attempt first; after them the pods of its driver that failed.

    A node's name is its path from the root: `audio-tune-tune-x7p2k(0).root(0).finetune(0).executor(1)`.
    """
    nodes = ((workflow.get("status") or {}).get("nodes") or {}).values()
    found = []
    for node in nodes:
        path = [_ATTEMPT.sub("", part) for part in str(node.get("name") or "").split(".")]
        ran = path[-2:] == [step, "executor"]
        driver_failed = path[-1] == f"{step}-driver" and node.get("phase") in ("Failed", "Error")
        if node.get("type") == "Pod" and (ran or driver_failed):
            pod = StepPod(_build_pod_name(node), str(node["id"]), str(node.get("phase") or ""), str(node.get("message") or ""))
            found.append(((ran, *_parse_attempts(str(node["name"]))), pod))
    return [pod for _, pod in sorted(found, key=lambda each: each[0], reverse=True)]


def _build_pod_name(node: Mapping[str, Any]) -> str:
    """`WORKFLOW-TEMPLATE-NUMBER`, as Argo builds it from the node's id `WORKFLOW-NUMBER`."""
    id, template = str(node["id"]), str(node.get("templateName") or "")
    workflow, _, number = id.rpartition("-")
    return f"{workflow}-{template}-{number}" if template else id


def _parse_attempts(name: str) -> list[int]:
    return [int(match[1]) if (match := _ATTEMPT.search(part)) else 0 for part in name.split(".")]


def find_failure_line(log: str) -> str:
    """The line of a step's log that says why it failed: the step's last words (audiotune.reporting.last_words).

    Where Kubeflow's driver or launcher failed, before the step began or after it ended, its message is the reason.
    """
    lines = [line.strip() for line in log.splitlines()]
    for line in reversed(lines):
        if (fatal := _FATAL.match(line)) and not _STEP_FAILED.search(fatal[1]):
            return f"Kubeflow: {fatal[1]}"[:500]
    return find_last_words("\n".join(line for line in lines if not _NO_REASON.match(line)))


def parse_error_message(answer: str) -> str:
    """The message of an answer that is an error, at most 500 characters."""
    try:
        body = json.loads(answer)
        return str(body.get("message") or body.get("error_message") or body)[:500]
    except (ValueError, AttributeError):
        return answer[:500]
