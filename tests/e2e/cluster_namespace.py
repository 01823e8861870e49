"""kubectl and helm on one namespace of the cluster under test, and the expected properties of its pods."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.e2e.cluster_access import find_cluster

_MANY_RESTARTS = 6


class ClusterError(Exception):
    """Something on the cluster is not as it should be; the words say what."""


class ClusterNamespace:
    """One namespace of the cluster under test, which is started if need be.

    Args:
        namespace: its name; it need not exist yet.
    """

    def __init__(self, namespace: str) -> None:
        self.access = find_cluster()
        self.access.start()
        self.namespace, self.env = namespace, self.access.read_environment()
        self._forwards: dict[str, contextlib.ExitStack] = {}

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
        return self._run(["kubectl", "-n", self.namespace, *words], stdin, check=check, timeout_s=timeout_s)

    def helm(self, *words: str, timeout_s: float = 900) -> str:
        return self._run(["helm", "-n", self.namespace, *words], None, check=True, timeout_s=timeout_s)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Applies objects."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get_object(self, *words: str) -> dict[str, Any]:
        """An object, or a list of objects, as `kubectl get` shows it."""
        made: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return made

    def wait_until(self, what: str, true: Callable[[], Any], patience_s: float) -> Any:
        """Waits until `true` returns something, and returns that. Raises ClusterError with the pods' state."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if answer := true():
                return answer
            time.sleep(1)
        raise ClusterError(f"not within {patience_s:.0f} s: {what}\n{self.kubectl('get', 'pods', '-o', 'wide', check=False)}")

    def wait_ready(self, patience_s: float) -> None:
        """Waits until every pod is ready or done."""
        self.wait_until("all pods ready", lambda: not self._list_unready(), patience_s)

    def find_faults(self) -> list[str]:
        """Pods that will never be ready: they ended badly, or their image cannot be pulled. A slow machine alone causes none."""
        pods = self.get_object("pods")["items"]
        return [f"{pod['metadata']['name']}: {words}" for pod in pods if (words := describe_fault(pod))]

    @contextlib.contextmanager
    def forward_port(self, target: str, port: int) -> Iterator[str]:
        """A port of a pod or Service on a free port of this machine: 127.0.0.1:..."""
        command = ["kubectl", "-n", self.namespace, "port-forward", target, f":{port}"]
        running = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert running.stdout is not None
        try:
            line = running.stdout.readline()
            if "->" not in line:
                raise ClusterError(f"no port-forward to {target}: {line.strip() or 'kubectl ended'}")
            # kubectl writes a line for each connection, and would stop at a full pipe
            threading.Thread(target=running.stdout.read, daemon=True).start()
            yield line.split()[2]
        finally:
            running.terminate()
            running.wait()

    def open_address(self, service: str, port: int) -> str:
        """The address of a Service as this machine reaches it.

        In a lab it is the Service's own. Elsewhere a port is forwarded, to one of its pods: when that pod has ended, ask again.
        """
        if self.access.reaches_services:
            return f"http://{self.get_object('service', service)['spec']['clusterIP']}:{port}"
        self._forwards.pop(service, contextlib.ExitStack()).close()
        opened = contextlib.ExitStack()
        address = opened.enter_context(self.forward_port(f"svc/{service}", port))
        self._forwards[service] = opened
        return f"http://{address}"

    def delete(self) -> None:
        """Deletes the namespace, without waiting for its end."""
        for opened in self._forwards.values():
            opened.close()
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", check=False)

    def _list_unready(self) -> list[str]:
        pods = [pod for pod in self.get_object("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
        return [pod["metadata"]["name"] for pod in pods if not _is_ready_or_done(pod)] if pods else ["none yet"]

    def _run(self, command: list[str], stdin: str | None, *, check: bool, timeout_s: float) -> str:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=self.env, check=False, timeout=timeout_s)
        if check and done.returncode:
            raise ClusterError(
                f"{' '.join(command[:6])} ... ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}"
            )
        return done.stdout


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod's condition Ready is true."""
    return {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.get("Ready") == "True"


def _is_ready_or_done(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] == "Succeeded" or is_ready(pod)


def describe_fault(pod: dict[str, Any]) -> str:
    """Why a pod will never be ready: an image or a setting is missing, or its program ended badly again and again. Or "".

    A slow machine also ends programs now and then: one that waits for its neighbours gives up and is started again, probes kill.
    """
    for status in (*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])):
        waits = status["state"].get("waiting", {}).get("reason", "")
        if waits not in ("", "ContainerCreating", "PodInitializing", "CrashLoopBackOff"):
            return f"{status['name']} {waits}"
        ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated") or {}
        if status.get("restartCount", 0) >= _MANY_RESTARTS and ended.get("exitCode") not in (0, 137, 143):
            return f"{status['name']} ended with {ended.get('exitCode')}, {status['restartCount']} times"
    return ""
