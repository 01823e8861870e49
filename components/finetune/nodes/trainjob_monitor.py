"""Polls a TrainJob and its pods, and reports their states and all new lines of their logs."""

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
# Messages of the other nodes when one node is lost: a consequence, never the reason.
_PEER = re.compile(r"closed by peer|reset by peer|broken pipe|connection refused|remote process exited|NCCL|gloo", re.IGNORECASE)


@dataclass
class TrainingNode:
    """The last known state of one training pod. A pod may vanish at any time; its last lines are kept here.

    Attributes:
        gone: it existed and no longer does.
        deletion_time: empty unless it was deleted.
        lines: the last lines of its log.
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
        """The end of its container (exitCode, reason, finishedAt); empty while it runs."""
        for container in self.status.get("containerStatuses") or []:
            if container.get("name") == CONTAINER:
                return dict(container.get("state", {}).get("terminated") or {})
        return {}

    @property
    def disruption_reason(self) -> str:
        """Why Kubernetes removed it, or empty."""
        for condition in self.status.get("conditions") or []:
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                return str(condition.get("reason") or "disrupted")
        reason = str(self.status.get("reason") or "")
        return reason if reason in ("Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Preempting", "Terminated") else ""

    @property
    def waiting_reason(self) -> str:
        """Why it cannot start, or empty: for example no free node, or an image that cannot be pulled."""
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
        """Why it failed by itself: the last line of its log; empty if it did not."""
        if self.exit_state.get("reason") == "OOMKilled":
            return "it used more memory than it may; raise gpu_memory_limit or lower batch_size"
        if self.was_killed or not self.exit_state.get("exitCode"):
            return ""
        return self.last_message or f"it ended with exit code {self.exit_state['exitCode']} and said nothing"

    @property
    def is_consequence(self) -> bool:
        """Whether its last line only reports the loss of another node."""
        return bool(_PEER.search(self.last_message))

    @property
    def last_message(self) -> str:
        """The last line of its log that gives a reason."""
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
        """Reports new lines of its pods' logs and returns the TrainJob; None when it no longer exists."""
        job = self.api.get(self.path)
        if job is not None:
            self._poll_pods(job)
        return job

    def _poll_pods(self, job: Object) -> None:
        path = f"/api/v1/namespaces/{self.pod.namespace}/pods"
        pods = self.api.get(path, labelSelector=f"jobset.sigs.k8s.io/jobset-name={self.name}") or {}
        newest = _find_newest_pods(pods.get("items") or [], str(job["metadata"].get("creationTimestamp") or ""))
        for index, item in newest.items():
            node = self.nodes.setdefault(index, TrainingNode(index))
            if node.pod != item["metadata"]["name"]:  # the first pod, or its replacement
                node.pod, node.stamp = item["metadata"]["name"], ""
            node.status, node.gone = item.get("status") or {}, False
            node.deletion_time = str(item["metadata"].get("deletionTimestamp") or "")
            self._read_log(node)
        for index in self.nodes.keys() - newest.keys():
            self.nodes[index].gone = True
        self._report_states(job)

    def _read_log(self, node: TrainingNode) -> None:
        """Reports every line since the last poll. The API filters by seconds, so lines reported before are skipped here."""
        if node.phase == "Pending":
            return
        since = {"sinceTime": node.stamp} if node.stamp else {}
        path = f"/api/v1/namespaces/{self.pod.namespace}/pods/{node.pod}/log"
        try:
            log = self.api.get_text(path, container=CONTAINER, timestamps="true", **since)
        except (KubernetesRefusedError, KubernetesUnreachableError):  # the container has not started, or its node does not answer
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
        """Reports the number of running nodes and what the others wait for, whenever it changes."""
        if find_end_condition(job)[0]:
            return
        running = sum(node.phase in ("Running", "Succeeded") for node in self.nodes.values())
        waits = [f"node {node.index} waits: {node.waiting_reason}" for node in self._nodes_in_order() if node.waiting_reason]
        state = "waits in a queue" if (job.get("spec") or {}).get("suspend") else f"{running} of {self.count} nodes run"
        self.report_change("; ".join([f"TrainJob {self.name}: {state}", *waits]))

    def report_change(self, words: str) -> None:
        """Reports words unless they are the same as last time."""
        if words != self.last_reported:
            self.last_reported = words
            self.progress(self.share, words)

    def _nodes_in_order(self) -> list[TrainingNode]:
        return [self.nodes[index] for index in sorted(self.nodes)]

    def find_failed_node(self) -> TrainingNode | None:
        """The node that failed first by itself; None if nodes were only lost, or failed because of a lost one."""
        failed = [node for node in self._nodes_in_order() if node.failure_reason]
        firm = [node for node in failed if not node.is_consequence]
        if not firm and any(node.was_killed for node in self.nodes.values()):
            return None
        return min(firm or failed, key=lambda node: (str(node.exit_state.get("finishedAt") or "~"), node.index), default=None)

    def describe_lost_node(self) -> str:
        """Describes the node that was lost first, and why; the others ended because of it."""
        killed = [node for node in self._nodes_in_order() if node.was_killed or node.deletion_time]
        if not killed:
            return "nodes were lost before they said anything"
        first = min(killed, key=lambda node: (not node.disruption_reason, node.deletion_time or "~", node.index))
        reason = first.disruption_reason
        return f"node {first.index} was taken away ({reason})" if reason else f"node {first.index} was lost"


def find_end_condition(job: Object) -> tuple[str, Object]:
    """How a TrainJob ended: ("Complete" or "Failed", its condition), or ("", {}) while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"]), dict(condition)
    return "", {}


def _find_newest_pods(items: list[Any], since: str) -> dict[int, Any]:
    """Index -> its newest pod. Pods of a deleted TrainJob of the same name may still be there; they are skipped."""
    by_age = sorted(items, key=lambda item: str(item["metadata"].get("creationTimestamp")))
    return {_read_node_index(item): item for item in by_age if str(item["metadata"].get("creationTimestamp") or since) >= since}


def _read_node_index(item: Any) -> int:
    metadata = item["metadata"]
    return int({**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}.get(_INDEX, 0))


def _parse_timestamp(stamp: str) -> tuple[str, str]:
    """A comparable form of an RFC 3339 time with any number of decimals."""
    whole, _, part = stamp.rstrip("Z").partition(".")
    return whole, part.ljust(9, "0")
