"""The stages that need no torch, in their order: images, install, policies, sign-in, upgrade, rollback, kills, a reinstall."""

from __future__ import annotations

import base64
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.cluster_access import CHART, ROOT
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace, is_ready

LIGHT_IMAGES = ("prepare", "object-store", "registry", "studio")
NAME = "audio-tune"
_SHORTAGES = {
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
# Tries to reach each server of the release; the policies let only pods of the release do so.
_CONNECT = """
import socket, time
time.sleep(8)  # until the policies know the pod
for host, port in (('audio-tune-registry', 5000), ('audio-tune-object-store', 9000), ('audio-tune-database', 5432)):
    try:
        socket.create_connection((host, port), 4).close()
        print('OPEN', host)
    except OSError as e:
        print('closed', host, e)
"""

Stage = Callable[[], None]


class LeftOutError(Exception):
    """The machine, not the chart, is the reason that a stage has no result."""


class LightStages:
    """The stages, in their order.

    Args:
        build: build and push the images first; otherwise deploy/values/images.yaml names pushed ones.
        spare: build no image anew that takes long, and print little.
        values: values of the chart that this cluster needs, as in key=value.
    """

    light = True
    parts: tuple[str, ...] = ("database", "governance", "object-store", "registry", "studio")

    def __init__(self, *, build: bool, spare: bool = False, values: Sequence[str] = ()) -> None:
        self.build, self.spare, self.values = build, spare, values
        self.cluster = ClusterNamespace("audio-tune-e2e")

    def chart_options(self) -> list[str]:
        """What the chart is installed with."""
        options = ["-f", str(ROOT / "deploy/values/images.yaml"), *self.cluster.access.chart_options()]
        options += ["--set", "generation.replicas=0", "--set", "journey.enabled=false"] if self.light else []
        return [*options, *(word for value in self.values for word in ("--set", value))]

    def images(self) -> None:
        """Builds, checks and pushes. The namespace that an ended run left on the cluster is deleted first."""
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--ignore-not-found", "--timeout=240s", timeout_s=250)
        if self.build:
            self._build_images()
        self.cluster.access.prepare_images()

    def _build_images(self) -> None:
        access = self.cluster.access
        command = [sys.executable, "-m", "deploy.images", "--registry", access.registry, *access.build_options()]
        names: tuple[str, ...] = LIGHT_IMAGES if self.light else ()
        if self.spare:  # MinIO takes minutes to build, and nothing of ours is in it
            self._run_builder([*command, "--no-build", "object-store"])
            names = tuple(name for name in names if name != "object-store")
        self._run_builder([*command, *names])

    def _run_builder(self, command: list[str]) -> None:
        """Its output is long, so that with `spare` it is shown only when it fails."""
        output = subprocess.PIPE if self.spare else None
        running = subprocess.Popen(
            command, cwd=ROOT, env=self.cluster.env, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            text = running.communicate()[0] or ""
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGTERM)  # podman, too
                running.wait()
        if running.returncode and self.spare and (shortage := find_shortage(text)):
            raise LeftOutError(f"an image could not be built for want of {shortage}")
        if running.returncode:
            raise ClusterError(f"{' '.join(command[1:4])} ended with {running.returncode}: {text[-3000:]}")

    def install(self) -> None:
        self.cluster.helm("install", NAME, str(CHART), "--create-namespace", *self.chart_options(), "--timeout", "10m")

    def ready(self) -> None:
        self.cluster.wait_ready(600)

    def nothing_comes_in_from_outside(self) -> None:
        """A pod that is not of the release reaches neither MLflow nor the store nor the database."""
        image = json.loads((ROOT / "deploy/images.lock").read_text())["images"][0]
        security = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "stranger",
            "image": f"{image['reference'].rpartition(':')[0]}@{image['digest']}",
            "command": ["python", "-c", _CONNECT],
            "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        spec = {"restartPolicy": "Never", "containers": [container]}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec})
        ends = ("Succeeded", "Failed")
        self.cluster.wait_until(
            "the stranger is done", lambda: self.cluster.get_object("pod", "stranger")["status"]["phase"] in ends, 120
        )
        log = self.cluster.kubectl("logs", "stranger")
        self.cluster.kubectl("delete", "pod", "stranger", "--wait=false")
        if "OPEN" in log or log.count("closed") != 3:
            raise ClusterError(f"the network is not closed to strangers; does this cluster enforce NetworkPolicies? {log}")

    def the_first_owner_signs_in(self) -> None:
        """The password made in the cluster opens the studio; without it nothing does."""
        secret = self.cluster.wait_until("the first owner's Secret", self._find_owner, 120)
        self.owner = json.loads(base64.b64decode(secret["data"]["owner.json"]))
        address = self.open_address("studio", 7860)
        self.cluster.wait_until("the studio answers", lambda: request_status(f"{address}/config"), 60)
        if (found := request_status(f"{address}/config")) != 401:
            raise ClusterError(f"the studio gives its pages to strangers ({found})")
        form = f"username={self.owner['member']}&password={self.owner['password']}"
        if (found := request_status(f"{address}/login", form.encode())) != 200:
            raise ClusterError(f"the first owner cannot sign in ({found})")

    def the_store_passes_its_conformance_tests(self) -> None:
        """The tests of every store, in buckets of their own on the cluster's MinIO."""
        found = self.cluster.get_object("secret", f"{NAME}-object-store")["data"]
        user, password = (base64.b64decode(found[key]).decode() for key in ("accesskey", "secretkey"))
        there = {
            "AUDIOTUNE_TEST_S3": self.open_address("object-store", 9000),
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
        }
        command = [sys.executable, "-m", "pytest", "-v", "-n", "0", "tests/integration/test_store_s3.py"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **there}, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode or " passed" not in done.stdout:
            raise ClusterError(f"the store tests failed on the cluster's MinIO: {done.stdout[-2000:]}")
        print(f"           {done.stdout.strip().splitlines()[-1]}", flush=True)

    def keep_something(self) -> None:
        """An object in the store, to be found again later."""
        self.kept = f"kept-{int(time.time())}"
        self.kept_key = self._run_in_studio(f"print(store.put_blob(b'{self.kept}', '.wav'))").split()[-1]

    def upgrade(self) -> None:
        self.cluster.helm("upgrade", NAME, str(CHART), *self.chart_options(), "--set", "studio.uploadLimitMb=123")
        self.cluster.wait_ready(600)
        self.check_kept()
        pods = self.cluster.kubectl("get", "deploy", f"{NAME}-studio", "-o", "yaml")
        if '"123"' not in pods:
            raise ClusterError("the changed value did not arrive in the studio")

    def rollback(self) -> None:
        self.cluster.helm("rollback", NAME, "1")
        self.cluster.wait_ready(600)
        self.check_kept()

    def kill_one_by_one(self) -> None:
        """Each part is killed without a warning and comes back by itself."""
        for part in self.parts:
            selector, began = f"app.kubernetes.io/component={part}", time.monotonic()
            self.cluster.kubectl("delete", "pod", "-l", selector, "--grace-period=0", "--force")
            self.cluster.wait_until(f"{part} is back", functools.partial(self._has_ready_pods, selector), 600)
            print(f"           {part} back after {time.monotonic() - began:.0f} s", flush=True)
        self.cluster.wait_ready(300)
        self.check_kept()

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", NAME, "--wait")
        left = self.cluster.kubectl(
            "get", "deploy,sts,svc,job,networkpolicy,configmap", "-l", "app.kubernetes.io/instance=audio-tune", "-o", "name"
        )
        if left.strip():
            raise ClusterError(f"uninstall left {left.split()}")
        if not self.cluster.get_object("pvc")["items"]:
            raise ClusterError("uninstall took the volumes away")

    def reinstall(self) -> None:
        self.cluster.helm("install", NAME, str(CHART), *self.chart_options(), "--timeout", "10m")
        self.cluster.wait_ready(600)
        self.check_kept()

    def check_kept(self) -> None:
        """What `keep_something` kept is still there."""
        text = self._run_in_studio(f"print(store.get('{self.kept_key}').decode())")
        if self.kept not in text:
            raise ClusterError(f"what was kept is gone: {text}")

    def open_address(self, part: str, port: int) -> str:
        """A part of the release as this machine reaches it."""
        return self.cluster.open_address(f"{NAME}-{part}", port)

    def stages_before_kept(self) -> list[Stage]:
        return [
            self.images,
            self.install,
            self.ready,
            self.nothing_comes_in_from_outside,
            self.the_first_owner_signs_in,
            self.the_store_passes_its_conformance_tests,
        ]

    def stages_with_kept(self) -> list[Stage]:
        return [self.keep_something, self.kill_one_by_one, self.upgrade, self.rollback, self.uninstall, self.reinstall]

    def stages(self) -> list[Stage]:
        return [*self.stages_before_kept(), *self.stages_with_kept()]

    def clean(self) -> None:
        self.cluster.delete()

    def _has_ready_pods(self, selector: str) -> bool:
        pods = [p for p in self.cluster.get_object("pods", "-l", selector)["items"] if "deletionTimestamp" not in p["metadata"]]
        return bool(pods) and all(map(is_ready, pods))

    def _run_in_studio(self, lines: str) -> str:
        code = f"from audiotune.store import open_store\nstore = open_store()\n{lines}\n"
        return self.cluster.kubectl("exec", f"deploy/{NAME}-studio", "--", "python", "-c", code)

    def _find_owner(self) -> dict[str, Any] | None:
        found = self.cluster.kubectl("get", "secret", f"{NAME}-first-owner", "-o", "json", check=False)
        return json.loads(found) if found else None


def request_status(address: str, body: bytes | None = None) -> int:
    """The status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(address, data=body, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def find_shortage(output: str) -> str:
    """What of the machine a builder lacked, by its output, or ""."""
    return next((name for name, signs in _SHORTAGES.items() if any(sign in output.lower() for sign in signs)), "")
