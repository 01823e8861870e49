"""Plays a compiled pipeline on a cluster: a pod per step, the cache by KFP's key, a lost pod tried again."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from audiotune.outside.kubeflow_runs import find_failure_line
from audiotune.outside.kubernetes import Kubernetes
from tests.e2e.standin.driver import Published, Run
from tests.e2e.standin.pods import LAUNCHER, pod

_MARK = "STANDIN "


class StepFailedError(Exception):
    """A step ended badly; its last line is the message. Nothing of it was published."""


@dataclass
class PipelineRunner:
    """A namespace of a cluster where runs are played.

    Attributes:
        api: the cluster.
        namespace: where pods are made; Secrets and service account must be there.
        account: service account of the steps.
        limit_s: seconds a step may take.
        cache: key -> what was published; keep it from one run to the next.
        seconds: task -> seconds its pod took, image pull included.
    """

    api: Kubernetes
    namespace: str
    account: str = "pipeline-runner"
    limit_s: float = 1200.0
    cache: dict[str, Published] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run_pipeline(self, run: Run, tell: Callable[[str], None] = print) -> dict[str, Published]:
        """Every task in its order.

        Raises:
            StepFailedError: with the step's own last line; the tasks after it do not run.
        """
        self._create_launcher()
        for task in run.order():
            key = run.cache_key(task)
            if run.cached(task) and key in self.cache:
                found = self.cache[key]
                run.done[task] = Published(found.parameters, found.artifacts, cached=True)
                tell(f"{task}: cached")
                continue
            began = time.monotonic()
            given = run.executor_input(task, str(uuid.uuid4()))
            self.cache[key] = run.publish(task, given, self._step(run, task, given))
            self.seconds[task] = time.monotonic() - began
            tell(f"{task}: {self.seconds[task]:.1f} s")
        return run.done

    def _create_launcher(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        if self.api.get(f"{path}/standin-launcher") is None:
            metadata = {"name": "standin-launcher"}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"launch.py": LAUNCHER.read_text()}}
            self.api.post(path, body)

    def _step(self, run: Run, task: str, given: dict[str, Any]) -> dict[str, Any]:
        """As Argo's stock default does: a lost pod is tried twice more, a step that failed is not."""
        for attempt in range(3):
            name = f"{task}-{run.id[:8]}-{attempt}"
            made = pod(run, task, given, name, self.account, attempt)
            self.api.post(f"/api/v1/namespaces/{self.namespace}/pods", made)
            log = self._wait(name)
            if log is not None:
                return log
        raise StepFailedError(f"{task}: its pod was lost three times")

    def _wait(self, name: str) -> dict[str, Any] | None:
        """What the step wrote; None when its pod was lost."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        until = time.monotonic() + self.limit_s
        while time.monotonic() < until:
            found = self.api.get(path)
            if found is None or found["metadata"].get("deletionTimestamp"):
                return None
            phase = found["status"].get("phase")
            if phase == "Succeeded":
                return _written(self.api.get_text(f"{path}/log") or "")
            if phase == "Failed":
                if found["status"].get("reason") in ("Evicted", "NodeLost", "Shutdown"):
                    return None
                raise StepFailedError(
                    find_failure_line(self.api.get_text(f"{path}/log") or "") or str(found["status"].get("message"))
                )
            time.sleep(1.0)
        raise StepFailedError(f"{name} did not end within {self.limit_s:.0f} s")


def _written(log: str) -> dict[str, Any]:
    line = next(line for line in reversed(log.splitlines()) if line.startswith(_MARK))
    found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    return found
