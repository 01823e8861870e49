"""What the drills of operations have in common: a release of their own, what a band keeps in it, sign-in, and stages with their times."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.lab import ROOT, Cluster, ClusterError, why_not

NAME, BUCKET = "audio-tune", "audio-tune"
REGISTRY = "localhost:5000"
CHART = str(ROOT / "helm/audio-tune")
GROUP_DATA_SCRIPT = Path(__file__).with_name("group_data.py")
# without the images that hold torch; a small node
SMALL = ["-f", str(ROOT / "deploy/values/small.yaml"), "--set", "generation.replicas=0", "--set", "journey.enabled=false"]


class Drill:
    """One release in one namespace.

    Args:
        namespace: made by the first install and removed at the end.
        values: files and settings of every install and upgrade; by default the images of deploy/values/images.yaml.
    """

    def __init__(self, namespace: str, values: list[str] | None = None) -> None:
        self.cluster = Cluster(namespace)
        images = ["-f", str(ROOT / "deploy/values/images.yaml"), "--set", f"images.database.registry={REGISTRY}"]
        self.values = [*SMALL, *(images if values is None else values)]
        self.group_data: dict[str, Any] = {}
        self.owner: dict[str, str] = {}

    def stages(self) -> list[Callable[[], None]]:
        raise NotImplementedError

    def install(self, *more: str) -> None:
        self.cluster.helm("install", NAME, CHART, "--create-namespace", *self.values, *more, "--timeout", "10m")

    def ready(self) -> None:
        self.cluster.settled(900)

    def make_group_data(self) -> None:
        """Recordings, segments, annotations, an account, a model version; and the first owner's account."""
        self.group_data = self._run_group_data("make")
        secret = self.cluster.until("the first owner's Secret", lambda: self.secret(f"{NAME}-first-owner"), 300)
        self.owner = json.loads(secret["owner.json"])
        self.members_sign_in()

    def nothing_is_lost(self) -> None:
        """Every byte and every word as it was made, and both members still come in."""
        found = self._run_group_data("tell")
        lost = [key for key, value in self.group_data.items() if found.get(key) != value]
        if lost:
            raise ClusterError(f"not as they were: {', '.join(lost)}: {json.dumps(found)[:800]}")
        self.members_sign_in()

    def members_sign_in(self) -> None:
        from tests.e2e.group_data import MEMBER, PASSWORD

        self.sign_in(MEMBER, PASSWORD)
        self.sign_in(self.owner["member"], self.owner["password"])

    def sign_in(self, member: str, password: str, expected: int = 200) -> None:
        told = urllib.parse.urlencode({"username": member, "password": password}).encode()
        with self.forward(f"svc/{NAME}-studio", 7860) as address:
            self.cluster.until("the studio answers", lambda: status(f"http://{address}/config"), 120)
            if (found := status(f"http://{address}/login", told)) != expected:
                raise ClusterError(f"signing in as {member} answers {found}, not {expected}")

    def secret(self, name: str) -> dict[str, str] | None:
        """The contents of a Secret, or None."""
        told = self.cluster.kubectl("get", "secret", name, "-o", "json", check=False)
        return {key: b64decode(value).decode() for key, value in json.loads(told)["data"].items()} if told else None

    def new_key(self, secret: str, key: str) -> str:
        """A new value in a Secret, as the documents do it; returns it."""
        value = secrets.token_hex(20)
        self.cluster.kubectl("patch", "secret", secret, "-p", json.dumps({"stringData": {key: value}}))
        return value

    def restart(self, what: str) -> None:
        self.cluster.kubectl("rollout", "restart", what)
        self.cluster.kubectl("rollout", "status", what, "--timeout=10m", timeout_s=630)

    def job(self, cron: str, name: str) -> None:
        """Runs a CronJob now and waits for its end. Raises ClusterError with its logs."""
        self.cluster.kubectl("create", "job", f"--from=cronjob/{cron}", name)

        def ended() -> str:
            found = self.cluster.found("job", name).get("status", {})
            return "Complete" if found.get("succeeded") else "Failed" if found.get("failed") else ""

        if self.cluster.until(f"job {name} ends", ended, 300) == "Failed":
            raise ClusterError(self.cluster.kubectl("logs", f"job/{name}", "--all-containers", check=False))

    @contextlib.contextmanager
    def forward(self, what: str, port: int, cluster: Cluster | None = None) -> Iterator[str]:
        """A port of a pod or Service on a free port of this machine: 127.0.0.1:..."""
        command = ["kubectl", "-n", (cluster or self.cluster).namespace, "port-forward", what, f":{port}"]
        running = subprocess.Popen(command, env=self.cluster.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert running.stdout is not None
        try:
            said = running.stdout.readline()
            if "->" not in said:
                raise ClusterError(f"no port-forward to {what}: {said.strip() or 'kubectl ended'}")
            yield said.split()[2]
        finally:
            running.terminate()
            running.wait()

    def in_studio(self, code: str) -> str:
        return self.cluster.kubectl("exec", "-i", f"deploy/{NAME}-studio", "-c", "studio", "--", "python", "-", given=code)

    def _run_group_data(self, verb: str) -> dict[str, Any]:
        words = ("exec", "-i", f"deploy/{NAME}-studio", "-c", "studio", "--", "python", "-", verb)
        told = self.cluster.kubectl(*words, given=GROUP_DATA_SCRIPT.read_text(), timeout_s=600)
        found: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
        return found

    def clean(self) -> None:
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--wait=false", check=False)


def status(address: str, body: bytes | None = None) -> int:
    """The status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(address, data=body, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def run_drill(make: Callable[[], Drill], about: str) -> int:
    """The command line of a drill: plays its stages, prints the time of each, and cleans up."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    args = parser.parse_args()
    if reason := why_not():
        print(f"left out: {reason}")
        return 0
    drill, began = make(), time.monotonic()
    try:
        for stage in drill.stages():
            start = time.monotonic()
            stage()
            print(f"{time.monotonic() - start:7.1f} s  {stage.__name__.replace('_', ' ')}", flush=True)
    except (ClusterError, subprocess.SubprocessError) as e:
        print(f"{stage.__name__.replace('_', ' ')}: {e}", file=sys.stderr)
        return 1
    finally:
        if not args.keep:
            drill.clean()
    print(f"{time.monotonic() - began:7.1f} s  in all; every stage passed")
    return 0
