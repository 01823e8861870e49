"""The stages that need no torch, in their order: images, install, policies, sign-in, upgrade, rollback, kills, a reinstall."""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.e2e.lab import LAB, ROOT, Cluster, ClusterError, environment

REGISTRY, BASE = "localhost:5000", "localhost/lab/python:3.11"
LIGHT = ("prepare", "object-store", "registry", "studio")
NAME = "audio-tune"
GO = "localhost/lab/golang:1"
_WANTS = {
    "disk": ("no space left", "disk quota"),
    "a network": (
        "temporary failure",
        "connection refused",
        "connection reset",
        "timed out",
        "dns error",
        "network is unreachable",
    ),
}


Stage = Callable[[], None]


class LeftOutError(Exception):
    """The machine, not the chart, is why nothing can be said."""


class LightStages:
    """The stages, in their order.

    Args:
        build: build and push the images first; otherwise deploy/values/images.yaml names pushed ones.
        spare: take no image anew that takes long to build, and say little.
    """

    light = True
    parts: tuple[str, ...] = ("database", "object-store", "registry", "studio")

    def __init__(self, *, build: bool, spare: bool = False) -> None:
        self.build, self.spare = build, spare
        self.cluster = Cluster("audio-tune-e2e")

    def flags(self) -> list[str]:
        """What the chart is installed with."""
        given = ["-f", str(ROOT / "deploy/values/images.yaml"), "--set", f"images.database.registry={REGISTRY}"]
        return given + (["--set", "generation.replicas=0", "--set", "journey.enabled=false"] if self.light else [])

    def images(self) -> None:
        """Builds, checks and pushes. What an ended run left on the cluster goes first."""
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--ignore-not-found", "--timeout=240s", timeout_s=250)
        if self.build:
            self._build()
        # a node whose images were pruned lacks even the one that every pod begins with
        for words in (
            ("load", "localhost/lab/pause:1"),
            ("image", "postgres"),
            ("push", "localhost/lab/postgres:15", "postgres:15"),
        ):
            subprocess.run([str(LAB), *words], check=True, capture_output=True)

    def _build(self) -> None:
        command = [sys.executable, "-m", "deploy.images", "--base-image", BASE, "--registry", REGISTRY, "--plain-http"]
        command += ["--compression", "zstd"]
        names: tuple[str, ...] = LIGHT if self.light else ()
        if self.spare:  # MinIO takes minutes to build, and nothing of ours is in it
            self._say([*command, "--no-build", "object-store"])
            names = tuple(name for name in names if name != "object-store")
        elif go_image():
            command += ["--go-image", GO]
        self._say([*command, *names])

    def _say(self, command: list[str]) -> None:
        """Runs a builder's command; what it says is long, so it is shown only when it fails, or when one watches."""
        quiet = subprocess.PIPE if self.spare else None
        running = subprocess.Popen(
            command, cwd=ROOT, env=self.cluster.env, stdout=quiet, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            told = running.communicate()[0] or ""
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGTERM)  # podman, too
                running.wait()
        if running.returncode and self.spare and (lacked := want(told)):
            raise LeftOutError(f"an image could not be built for want of {lacked}")
        if running.returncode:
            raise ClusterError(f"{' '.join(command[1:4])} ended with {running.returncode}: {told[-3000:]}")

    def install(self) -> None:
        self.cluster.helm("install", NAME, str(ROOT / "helm/audio-tune"), "--create-namespace", *self.flags(), "--timeout", "10m")

    def ready(self) -> None:
        self.cluster.settled(600)

    def nothing_comes_in_from_outside(self) -> None:
        """A pod that is not ours reaches neither MLflow nor the store; one of ours reaches what its arrow says."""
        script = (
            "import socket,sys\n"
            "for host, port in (('audio-tune-registry',5000),('audio-tune-object-store',9000),('audio-tune-database',5432)):\n"
            "    try:\n        socket.create_connection((host, port), 4).close(); print('OPEN', host)\n"
            "    except OSError as e: print('closed', host, e)\n"
        )
        image = json.loads((ROOT / "deploy/images.lock").read_text())["images"][0]
        security = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        pod: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "stranger"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "stranger",
                        "image": f"{image['reference'].rpartition(':')[0]}@{image['digest']}",
                        "command": ["python", "-c", "import time; time.sleep(8)\n" + script],
                        "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
                    }
                ],
            },
        }
        self.cluster.kubectl("apply", "-f", "-", given=json.dumps(pod))
        done = ("Succeeded", "Failed")
        self.cluster.until("the stranger is done", lambda: self.cluster.found("pod", "stranger")["status"]["phase"] in done, 120)
        told = self.cluster.kubectl("logs", "stranger")
        self.cluster.kubectl("delete", "pod", "stranger", "--wait=false")
        if "OPEN" in told or told.count("closed") != 3:
            raise ClusterError(f"the network is not closed to strangers: {told}")

    def the_first_owner_signs_in(self) -> None:
        """The password made in the cluster opens the studio; without it nothing does."""
        secret = self.cluster.until("the first owner's Secret", self._owner, 120)
        self.owner = json.loads(base64.b64decode(secret["data"]["owner.json"]))
        address = self.address("studio", 7860)
        self.cluster.until("the studio answers", lambda: _status(f"{address}/config"), 60)
        if (found := _status(f"{address}/config")) != 401:
            raise ClusterError(f"the studio gives its pages to strangers ({found})")
        told = f"username={self.owner['member']}&password={self.owner['password']}"
        if (found := _status(f"{address}/login", told.encode())) != 200:
            raise ClusterError(f"the first owner cannot sign in ({found})")

    def the_store_passes_its_conformance_tests(self) -> None:
        """The tests of every store, in buckets of their own on the cluster's MinIO."""
        found = self.cluster.found("secret", f"{NAME}-object-store")["data"]
        user, password = (base64.b64decode(found[key]).decode() for key in ("accesskey", "secretkey"))
        there = {
            "AUDIOTUNE_TEST_S3": self.address("object-store", 9000),
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
        }
        command = [sys.executable, "-m", "pytest", "-v", "-n", "0", "tests/integration/test_store_s3.py"]
        told = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **there}, capture_output=True, text=True, timeout=300, check=False
        )
        if told.returncode or " passed" not in told.stdout:
            raise ClusterError(f"the store tests failed on the cluster's MinIO: {told.stdout[-2000:]}")
        print(f"           {told.stdout.strip().splitlines()[-1]}", flush=True)

    def keep_something(self) -> None:
        """A word in the store and one in MLflow, to be found again later."""
        self.kept = f"kept-{int(time.time())}"
        self._in_studio(f"store.put('manifests/e2e/{self.kept}', b'here')")

    def upgrade(self) -> None:
        self.cluster.helm("upgrade", NAME, str(ROOT / "helm/audio-tune"), *self.flags(), "--set", "studio.uploadLimitMb=123")
        self.cluster.settled(600)
        self.still_there()
        pods = self.cluster.kubectl("get", "deploy", f"{NAME}-studio", "-o", "yaml")
        if '"123"' not in pods:
            raise ClusterError("the changed value did not arrive in the studio")

    def rollback(self) -> None:
        self.cluster.helm("rollback", NAME, "1")
        self.cluster.settled(600)
        self.still_there()

    def kill_one_by_one(self) -> None:
        """Each part dies without a word and comes back by itself."""
        for part in self.parts:
            selector, began = f"app.kubernetes.io/component={part}", time.monotonic()
            self.cluster.kubectl("delete", "pod", "-l", selector, "--grace-period=0", "--force")
            self.cluster.until(f"{part} is back", functools.partial(self._back, selector), 600)
            print(f"           {part} back after {time.monotonic() - began:.0f} s", flush=True)
        self.cluster.settled(300)
        self.still_there()

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", NAME, "--wait")
        left = self.cluster.kubectl(
            "get", "deploy,sts,svc,job,networkpolicy,configmap", "-l", "app.kubernetes.io/instance=audio-tune", "-o", "name"
        )
        if left.strip():
            raise ClusterError(f"uninstall left {left.split()}")
        if not self.cluster.found("pvc")["items"]:
            raise ClusterError("uninstall took the volumes away")

    def reinstall(self) -> None:
        self.cluster.helm("install", NAME, str(ROOT / "helm/audio-tune"), *self.flags(), "--timeout", "10m")
        self.cluster.settled(600)
        self.still_there()

    def _back(self, selector: str) -> bool:
        pods = [p for p in self.cluster.found("pods", "-l", selector)["items"] if "deletionTimestamp" not in p["metadata"]]
        return bool(pods) and all(
            {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.get("Ready") == "True" for pod in pods
        )

    def still_there(self) -> None:
        told = self._in_studio(f"print(store.get('manifests/e2e/{self.kept}').decode())")
        if "here" not in told:
            raise ClusterError(f"what was kept is gone: {told}")

    def _in_studio(self, lines: str) -> str:
        code = f"from audiotune.store import open_store\nstore = open_store()\n{lines}\n"
        return self.cluster.kubectl("exec", f"deploy/{NAME}-studio", "--", "python", "-c", code)

    def _owner(self) -> dict[str, Any] | None:
        told = self.cluster.kubectl("get", "secret", f"{NAME}-first-owner", "-o", "json", check=False)
        return json.loads(told) if told else None

    def address(self, service: str, port: int) -> str:
        """A service as the node itself reaches it."""
        return f"http://{self.cluster.found('service', f'{NAME}-{service}')['spec']['clusterIP']}:{port}"

    def until_kept(self) -> list[Stage]:
        return [
            self.images,
            self.install,
            self.ready,
            self.nothing_comes_in_from_outside,
            self.the_first_owner_signs_in,
            self.the_store_passes_its_conformance_tests,
        ]

    def from_kept(self) -> list[Stage]:
        return [self.keep_something, self.kill_one_by_one, self.upgrade, self.rollback, self.uninstall, self.reinstall]

    def stages(self) -> list[Stage]:
        return [*self.until_kept(), *self.from_kept()]

    def clean(self) -> None:
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--wait=false", check=False)


def _status(address: str, body: bytes | None = None) -> int:
    """The status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(address, data=body, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def want(told: str) -> str:
    """What of the machine a builder lacked, by its words, or ""."""
    return next((want for want, signs in _WANTS.items() if any(sign in told.lower() for sign in signs)), "")


def go_image() -> bool:
    """Makes an image with this machine's Go, where there is one and no registry to pull Go's own from."""
    env = environment()
    if subprocess.run(["podman", "image", "exists", GO], env=env, check=False).returncode == 0:
        return True
    if not (go := shutil.which("go")):
        return False
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    lines = f"FROM {BASE}\nCOPY bin /usr/local/go/bin\nCOPY pkg /usr/local/go/pkg\nCOPY src /usr/local/go/src\n"
    lines += "COPY lib /usr/local/go/lib\nCOPY go.env VERSION /usr/local/go/\nENV PATH=/usr/local/go/bin:/usr/bin:/bin\n"
    build = ["podman", "build", "-q", "-t", GO, "-f", "-", root]
    return subprocess.run(build, input=lines, text=True, env=env, check=False, capture_output=True).returncode == 0
