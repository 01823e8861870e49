"""The lab's programs for the tests on a real cluster: a one-node Kubernetes in ../shared/lab, or the one in AUDIOTUNE_LAB."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = Path(os.environ.get("AUDIOTUNE_LAB", ROOT.parent / "shared" / "lab" / "lab"))

_TOO_OFTEN = 6


class ClusterError(Exception):
    """Something on the cluster is not as it should be; the words say what."""


def why_not() -> str:
    """Why the cluster part cannot run here, or "" if it can. Never starts a set-up, which takes minutes."""
    if not LAB.is_file():
        return f"no lab at {LAB} (AUDIOTUNE_LAB names another)"
    home = Path(os.environ.get("LAB_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "audio-tune-lab")
    if not (home / "pki" / "done").exists():
        return f"the lab is not set up ({LAB} setup, about ten minutes, once)"
    if not shutil.which("podman"):
        return "podman is not on PATH"
    return ""


def without(names: Iterable[str]) -> str:
    """Which of our images podman lacks here, as a reason, or ""; building them all from nothing takes half an hour."""
    missing = [name for name in names if _fails(["podman", "image", "exists", f"localhost/audio-tune/{name}"])]
    return f"podman has no {', '.join(missing)} yet (make images builds them once)" if missing else ""


def up() -> bool:
    """Whether the lab runs."""
    told = subprocess.run([str(LAB), "status"], capture_output=True, text=True, check=False).stdout
    return any(line.split()[-1:] == ["running"] for line in told.splitlines())


def down(*, wipe: bool = False) -> None:
    """Stops the lab; `wipe` also forgets what was on the cluster.

    It says 1 when there was nothing to stop, so its word is not asked: an `up` that fails afterwards tells more.
    """
    subprocess.run([str(LAB), "down", *(["--wipe"] if wipe else [])], check=False, capture_output=True)


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def environment() -> dict[str, str]:
    """What `lab env` sets: KUBECONFIG, PATH with helm and kubectl, podman's settings."""
    command = f'eval "$({LAB} env)" && env -0'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)


class Cluster:
    """kubectl and helm on one namespace."""

    def __init__(self, namespace: str) -> None:
        subprocess.run([str(LAB), "up"], check=True, capture_output=True)
        self.namespace, self.env = namespace, environment()

    def kubectl(self, *words: str, given: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
        return self._run(["kubectl", "-n", self.namespace, *words], given, check=check, timeout_s=timeout_s)

    def helm(self, *words: str, timeout_s: float = 900) -> str:
        return self._run(["helm", "-n", self.namespace, *words], None, check=True, timeout_s=timeout_s)

    def found(self, *words: str) -> dict[str, Any]:
        """An object as kubectl gets it."""
        made: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return made

    def until(self, what: str, true: Callable[[], Any], patience_s: float) -> Any:
        """Waits for something. Raises ClusterError with the pods' state."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if answer := true():
                return answer
            time.sleep(1)
        raise ClusterError(f"not within {patience_s:.0f} s: {what}\n{self.kubectl('get', 'pods', '-o', 'wide', check=False)}")

    def settled(self, patience_s: float) -> None:
        """Waits until every pod is ready or done."""
        self.until("all pods ready", lambda: not self.unready(), patience_s)

    def unready(self) -> list[str]:
        pods = [pod for pod in self.found("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
        return [pod["metadata"]["name"] for pod in pods if not _fine(pod)] if pods else ["none yet"]

    def broken(self) -> list[str]:
        """Pods that do not merely wait: what ended badly, what cannot be pulled. A machine that is only slow has none."""
        return [f"{pod['metadata']['name']}: {words}" for pod in self.found("pods")["items"] if (words := complaint(pod))]

    def _run(self, command: list[str], given: str | None, *, check: bool, timeout_s: float) -> str:
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=self.env, check=False, timeout=timeout_s)
        if check and done.returncode:
            raise ClusterError(
                f"{' '.join(command[:6])} ... ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}"
            )
        return done.stdout


def _fine(pod: dict[str, Any]) -> bool:
    if pod["status"]["phase"] == "Succeeded":
        return True
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def complaint(pod: dict[str, Any]) -> str:
    """What will never come, in words: an image or a setting that is not there, a program that ended badly again and again.

    A slow machine also ends programs now and then: what waits for its neighbours gives up and is started again, probes kill.
    """
    for status in (*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])):
        waits = status["state"].get("waiting", {}).get("reason", "")
        if waits not in ("", "ContainerCreating", "PodInitializing", "CrashLoopBackOff"):
            return f"{status['name']} {waits}"
        ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated") or {}
        if status.get("restartCount", 0) >= _TOO_OFTEN and ended.get("exitCode") not in (0, 137, 143):
            return f"{status['name']} ended with {ended.get('exitCode')}, {status['restartCount']} times"
    return ""
