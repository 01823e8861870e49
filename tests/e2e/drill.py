"""Shared by the drills: a release with its group's data, sign-in, and stages with their times."""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import time
import urllib.parse
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.cluster_access import CHART, ROOT, find_obstacle
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.e2e.light_stages import request_status

NAME, BUCKET = "audio-tune", "audio-tune"
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
        self.cluster = ClusterNamespace(namespace)
        images = ["-f", str(ROOT / "deploy/values/images.yaml"), *self.cluster.access.chart_options()]
        self.values = [*SMALL, *(images if values is None else values)]
        self.group_data: dict[str, Any] = {}
        self.owner: dict[str, str] = {}

    def stages(self) -> list[Callable[[], None]]:
        raise NotImplementedError

    def install(self, *more: str) -> None:
        self.cluster.helm("install", NAME, str(CHART), "--create-namespace", *self.values, *more, "--timeout", "10m")

    def ready(self) -> None:
        self.cluster.wait_ready(900)

    def make_group_data(self) -> None:
        """Recordings, segments, annotations, an account, a model version; and the first owner's account."""
        from tests.e2e.group_data import MEMBER, PASSWORD

        self._run_group_data("make")
        self._run_group_data("register", "registry")
        access = ("exec", "-i", f"deploy/{NAME}-governance", "-c", "governance", "--", "python", "-m", "audiotune.access")
        self.cluster.kubectl(*access, "account", "create", MEMBER, stdin=f"{PASSWORD}\n")
        self.group_data = self._read_group_data()
        secret = self.cluster.wait_until("the first owner's Secret", lambda: self.secret(f"{NAME}-first-owner"), 300)
        self.owner = json.loads(secret["owner.json"])
        self.members_sign_in()

    def nothing_is_lost(self) -> None:
        """Every byte and every word is as it was made, and both members can still sign in."""
        found = self._read_group_data()
        lost = [key for key, value in self.group_data.items() if found.get(key) != value]
        if lost:
            raise ClusterError(f"not as they were: {', '.join(lost)}: {json.dumps(found)[:800]}")
        self.members_sign_in()

    def members_sign_in(self) -> None:
        from tests.e2e.group_data import MEMBER, PASSWORD

        self.sign_in(MEMBER, PASSWORD)
        self.sign_in(self.owner["member"], self.owner["password"])

    def sign_in(self, member: str, password: str, expected: int = 200) -> None:
        form = urllib.parse.urlencode({"username": member, "password": password}).encode()
        with self.cluster.forward_port(f"svc/{NAME}-studio", 7860) as address:
            self.cluster.wait_until("the studio answers", lambda: request_status(f"http://{address}/config"), 120)
            if (found := request_status(f"http://{address}/login", form)) != expected:
                raise ClusterError(f"signing in as {member} answers {found}, not {expected}")

    def secret(self, name: str) -> dict[str, str] | None:
        """The contents of a Secret, or None."""
        found = self.cluster.kubectl("get", "secret", name, "-o", "json", check=False)
        return {key: b64decode(value).decode() for key, value in json.loads(found)["data"].items()} if found else None

    def change_key(self, secret: str, key: str) -> str:
        """Puts a new value into a Secret, as the documents do it, and returns it."""
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
            found = self.cluster.get_object("job", name).get("status", {})
            return "Complete" if found.get("succeeded") else "Failed" if found.get("failed") else ""

        if self.cluster.wait_until(f"job {name} ends", ended, 300) == "Failed":
            raise ClusterError(self.cluster.kubectl("logs", f"job/{name}", "--all-containers", check=False))

    def run_in_studio(self, code: str) -> str:
        return self.cluster.kubectl("exec", "-i", f"deploy/{NAME}-studio", "-c", "studio", "--", "python", "-", stdin=code)

    def _read_group_data(self) -> dict[str, Any]:
        return self._run_group_data("read") | self._run_group_data("registered", "registry")

    def _run_group_data(self, verb: str, part: str = "studio") -> dict[str, Any]:
        words = ("exec", "-i", f"deploy/{NAME}-{part}", "-c", part, "--", "python", "-", verb)
        output = self.cluster.kubectl(*words, stdin=GROUP_DATA_SCRIPT.read_text(), timeout_s=600)
        found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return found

    def clean(self) -> None:
        self.cluster.delete()


def run_drill(make: Callable[[], Drill], about: str, *, lab_only: bool = False) -> int:
    """The command line of a drill: plays its stages, prints the time of each, and cleans up."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    args = parser.parse_args()
    if reason := find_obstacle(lab_only=lab_only):
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
