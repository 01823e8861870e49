"""Polls a TrainJob and its pods, and reports their states and every new line of every log."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from audiotune.errors import KubernetesRefusedError, KubernetesUnreachableError
from audiotune.outside.kubeflow_runs import find_failure_line
from audiotune.outside.kubernetes import Kubernetes
from audiotune.reporting.progress import ProgressCallback, parse_progress_line
from components.finetune.nodes.node_resources import Object
from components.finetune.nodes.trainjob import API, CONTAINER, OwnerPod

_INDEX = "batch.kubernetes.io/job-completion-index"
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) (.*)")
# What the other nodes write when one of them is gone: a consequence, never the reason.
_PEER = re.compile(r"closed by peer|reset by peer|broken pipe|connection refused|remote process exited|NCCL|gloo", re.IGNORECASE)


@dataclass
class TrainingNode:
    """One training pod, as it was seen last. A pod may vanish at any time; its last lines are kept here.

    Attributes:
        status: the pod's status.
        gone: it existed and does not exist any more.
        deletion_time: when it was deleted; empty while it was not.
        lines: the last lines it wrote.
    """

    index: int
    pod: str = ""
    status: Object = field(default_factory=dict)
    gone: bool = False
    deletion_time: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    stamp: str = ""

    @property
    def phase(self) -> str:
        return "gone" if self.gone else str(self.status.get("phase") or "not there yet")

    @property
    def exit_state(self) -> Object:
        """How its container ended (exitCode, reason, finishedAt); empty while it runs."""
        for container in self.status.get("containerStatuses") or []:
            if container.get("name") == CONTAINER:
                return dict(container.get("state", {}).get("terminated") or {})
        return {}

    @property
    def disruption_reason(self) -> str:
        """Why Kubernetes took it away, or empty."""
        for condition in self.status.get("conditions") or []:
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                return str(condition.get("reason") or "disrupted")
        reason = str(self.status.get("reason") or "")
        return reason if reason in ("Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Preempting", "Terminated") else ""

    @property
    def waiting_reason(self) -> str:
        """What keeps it from running, or empty: for example no room on any node, or an image that cannot be pulled."""
        for condition in self.status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return str(condition.get("message") or condition.get("reason") or "")
        for container in self.status.get("containerStatuses") or []:
            waiting = container.get("state", {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
        return ""

    @property
    def was_killed(self) -> bool:
        """It did not end by itself."""
        return self.gone or bool(self.disruption_reason) or self.exit_state.get("exitCode") in (137, 143)

    @property
    def failure_reason(self) -> str:
        """Why it failed by itself: the last line of its log; empty when it did not."""
        if self.exit_state.get("reason") == "OOMKilled":
            return "it used more memory than it may; raise gpu_memory_limit or lower batch_size"
        if self.was_killed or not self.exit_state.get("exitCode"):
            return ""
        return self.last_message or f"it ended with exit code {self.exit_state['exitCode']} and said nothing"

    @property
    def is_consequence(self) -> bool:
        """Whether its last line only says that another node is gone."""
        return bool(_PEER.search(self.last_message))

    @property
    def last_message(self) -> str:
        """The last line of its log that is a reason."""
        return find_failure_line("\n".join(self.lines))


@dataclass
class TrainJobMonitor:
    """Polls one TrainJob.

    Attributes:
        pod: the step's own; the TrainJob is in its namespace.
        name: the TrainJob's.
        count: nodes expected.
        progress: called with every change and every line.
    """

    api: Kubernetes
    pod: OwnerPod
    name: str
    count: int
    progress: ProgressCallback
    share: float = 0.0
    nodes: dict[int, TrainingNode] = field(default_factory=dict)
    last_reported: str = ""

    @property
    def path(self) -> str:
        return f"{API}/namespaces/{self.pod.namespace}/trainjobs/{self.name}"

    def poll(self) -> Object | None:
        """Reports what is new in its pods' logs and returns the TrainJob as it is now; None when it is gone."""
        job = self.api.get(self.path)
        if job is not None:
            self._poll_pods(job)
        return job

    def _poll_pods(self, job: Object) -> None:
        path = f"/api/v1/namespaces/{self.pod.namespace}/pods"
        found = self.api.get(path, labelSelector=f"jobset.sigs.k8s.io/jobset-name={self.name}") or {}
        newest = _find_newest_pods(found.get("items") or [], str(job["metadata"].get("creationTimestamp") or ""))
        for index, item in newest.items():
            node = self.nodes.setdefault(index, TrainingNode(index))
            if node.pod != item["metadata"]["name"]:  # the first, or one in its place
                node.pod, node.stamp = item["metadata"]["name"], ""
            node.status, node.gone = item.get("status") or {}, False
            node.deletion_time = str(item["metadata"].get("deletionTimestamp") or "")
            self._read_log(node)
        for index in self.nodes.keys() - newest.keys():
            self.nodes[index].gone = True
        self._report_states(job)

    def _read_log(self, node: TrainingNode) -> None:
        """Reports every line since the last poll. The API takes seconds, lines have nanoseconds: lines reported before are skipped."""
        if node.phase == "Pending":
            return
        since = {"sinceTime": node.stamp} if node.stamp else {}
        path = f"/api/v1/namespaces/{self.pod.namespace}/pods/{node.pod}/log"
        try:
            log = self.api.get_text(path, container=CONTAINER, timestamps="true", **since)
        except (
            KubernetesRefusedError,
            KubernetesUnreachableError,
        ):  # the container has not begun, or its machine does not answer
            return
        for line in (log or "").splitlines():
            match = _STAMPED.match(line)
            if match and _parse_timestamp(match[1]) > _parse_timestamp(node.stamp):
                node.stamp = match[1]
                self._report_line(node, match[2])

    def _report_line(self, node: TrainingNode, line: str) -> None:
        if not line.strip():
            return
        node.lines.append(line)
        parsed = parse_progress_line(line)
        if parsed:
            self.share = parsed.share
        self.progress(self.share, f"node {node.index}: {parsed.words if parsed else line}")

    def _report_states(self, job: Object) -> None:
        """Reports how many nodes run and what the others wait for, whenever that has changed."""
        running = sum(node.phase in ("Running", "Succeeded") for node in self.nodes.values())
        waits = "; ".join(
            f"node {node.index} waits: {node.waiting_reason}" for node in self._nodes_in_order() if node.waiting_reason
        )
        state = "waits in a queue" if (job.get("spec") or {}).get("suspend") else f"{running} of {self.count} nodes run"
        words = f"TrainJob {self.name}: {state}" + (f"; {waits}" if waits else "")
        if not find_end_condition(job)[0]:
            self.report_change(words)

    def report_change(self, words: str) -> None:
        """Reports words unless they were the last ones reported."""
        if words != self.last_reported:
            self.last_reported = words
            self.progress(self.share, words)

    def _nodes_in_order(self) -> list[TrainingNode]:
        return [self.nodes[index] for index in sorted(self.nodes)]

    def find_failed_node(self) -> TrainingNode | None:
        """The node that failed first by itself; None when nodes were only taken away, or ended because another one was."""
        failed = [node for node in self._nodes_in_order() if node.failure_reason]
        firm = [node for node in failed if not node.is_consequence]
        if not firm and any(node.was_killed for node in self.nodes.values()):
            return None
        return min(firm or failed, key=lambda node: (str(node.exit_state.get("finishedAt") or "~"), node.index), default=None)

    def describe_lost_node(self) -> str:
        """Describes which node was taken away first and why; the others ended because of it."""
        killed = [node for node in self._nodes_in_order() if node.was_killed or node.deletion_time]
        if not killed:
            return "nodes were lost before they said anything"
        first = min(killed, key=lambda node: (not node.disruption_reason, node.deletion_time or "~", node.index))
        return (
            f"node {first.index} was taken away ({first.disruption_reason})"
            if first.disruption_reason
            else f"node {first.index} was lost"
        )


def find_end_condition(job: Object) -> tuple[str, Object]:
    """How a TrainJob ended: ("Complete" or "Failed", its condition), or ("", {}) while it has not."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"]), dict(condition)
    return "", {}


def _find_newest_pods(items: list[Any], since: str) -> dict[int, Any]:
    """Index -> its newest pod. Pods of a deleted TrainJob of the same name may still be there; they are skipped."""
    found = sorted(items, key=lambda item: str(item["metadata"].get("creationTimestamp")))
    return {_read_node_index(item): item for item in found if str(item["metadata"].get("creationTimestamp") or since) >= since}


def _read_node_index(item: Any) -> int:
    metadata = item["metadata"]
    return int({**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}.get(_INDEX, 0))


def _parse_timestamp(stamp: str) -> tuple[str, str]:
    """RFC 3339 with any number of digits after the second, so that it can be compared."""
    whole, _, part = stamp.rstrip("Z").partition(".")
    return whole, part.ljust(9, "0")
