"""The chart on a real cluster, from the images to a reinstall, each stage with its time.

    python -m tests.e2e.cluster --light     without torch: the studio, MLflow, PostgreSQL, MinIO, jobs, policies (a few minutes)
    python -m tests.e2e.cluster             all images, helm test, a sound with a member's token (longer; the images are 6.5 GB each)
    python -m tests.e2e.cluster --spare     the light part where this machine can run it in minutes; says so where it cannot

Needs the lab (../shared/lab) set up and podman. It owns the namespace audio-tune-e2e, which it removes at its end.
"""

from __future__ import annotations

import argparse
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

from deploy.images.__main__ import version
from tests.e2e.tools import LAB, ROOT, Cluster, ClusterError, down, up, why_not, without

REGISTRY, BASE = "localhost:5000", "localhost/lab/python:3.11"
LIGHT = ("prepare", "object-store", "registry", "studio")
NAME = "audio-tune"
SPARE_DISK_GB = 12  # the light images once more, in podman, in the registry and on the node
SPARE_BUILD_S = 420


class LeftOutError(Exception):
    """The machine, not the chart, is why nothing can be said."""


class Journey:
    """The stages, in their order."""

    def __init__(self, *, light: bool, build: bool, spare: bool = False) -> None:
        self.light, self.build, self.spare = light or spare, build, spare
        self.cluster = Cluster("audio-tune-e2e")
        self.flags = ["-f", str(ROOT / "deploy/values/images.yaml"), "--set", f"images.database.registry={REGISTRY}"]
        if self.light:
            self.flags += ["--set", "generation.replicas=0", "--set", "journey.enabled=false"]

    def images(self) -> None:
        """Builds, checks and pushes."""
        command = [sys.executable, "-m", "deploy.images", "--base-image", BASE, "--registry", REGISTRY, "--plain-http"]
        if self.build:
            names: tuple[str, ...] = LIGHT if self.light else ()
            if self.spare:  # MinIO takes a quarter of an hour to build, and nothing of ours is in it
                self._say([*command, "--no-build", "object-store"])
                names = tuple(name for name in names if name != "object-store")
            self._say([*command, *names])
        # a node whose images were pruned lacks even the one that every pod begins with
        for words in (
            ("load", "localhost/lab/pause:1"),
            ("image", "postgres"),
            ("push", "localhost/lab/postgres:15", "postgres:15"),
        ):
            subprocess.run([str(LAB), *words], check=True, capture_output=True)

    def _say(self, command: list[str]) -> None:
        """Runs a builder's command; what it says is long, so it is shown only when it fails, or when one watches."""
        quiet, patience_s = (subprocess.PIPE, SPARE_BUILD_S) if self.spare else (None, None)
        running = subprocess.Popen(
            command, cwd=ROOT, env=self.cluster.env, stdout=quiet, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            told = running.communicate(timeout=patience_s)[0]
        except subprocess.TimeoutExpired:
            raise LeftOutError(f"the images were not built within {SPARE_BUILD_S} s on this machine") from None
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGTERM)  # podman, too
                running.wait()
        if running.returncode:
            raise ClusterError(f"{' '.join(command[1:4])} ended with {running.returncode}: {(told or '')[-3000:]}")

    def install(self) -> None:
        self.cluster.helm("install", NAME, str(ROOT / "helm/audio-tune"), "--create-namespace", *self.flags, "--timeout", "10m")

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
        forward = self.cluster.forward(f"{NAME}-studio", 7860)
        try:
            address = "http://127.0.0.1:7860"
            self.cluster.until("the studio answers", lambda: _status(f"{address}/config"), 60)
            if (found := _status(f"{address}/config")) != 401:
                raise ClusterError(f"the studio gives its pages to strangers ({found})")
            told = f"username={self.owner['member']}&password={self.owner['password']}"
            if (found := _status(f"{address}/login", told.encode())) != 200:
                raise ClusterError(f"the first owner cannot sign in ({found})")
        finally:
            forward.terminate()

    def keep_something(self) -> None:
        """A word in the store and one in MLflow, to be found again later."""
        self.kept = f"kept-{int(time.time())}"
        self._in_studio(f"store.put('manifests/e2e/{self.kept}', b'here')")

    def helm_test(self) -> None:
        print(self.cluster.helm("test", NAME, "--logs", "--timeout", "30m", timeout_s=2000))

    def upgrade(self) -> None:
        self.cluster.helm("upgrade", NAME, str(ROOT / "helm/audio-tune"), *self.flags, "--set", "studio.uploadLimitMb=123")
        self.cluster.settled(600)
        self._still_there()
        pods = self.cluster.kubectl("get", "deploy", f"{NAME}-studio", "-o", "yaml")
        if '"123"' not in pods:
            raise ClusterError("the changed value did not arrive in the studio")

    def rollback(self) -> None:
        self.cluster.helm("rollback", NAME, "1")
        self.cluster.settled(600)
        self._still_there()

    def kill_one_by_one(self) -> None:
        """Each part dies without a word and comes back by itself."""
        for part in ("database", "object-store", "registry", "studio"):
            selector = f"app.kubernetes.io/component={part}"
            self.cluster.kubectl("delete", "pod", "-l", selector, "--grace-period=0", "--force")
            self.cluster.until(f"{part} is back", functools.partial(self._back, selector), 300)
        self.cluster.settled(300)
        self._still_there()

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
        self.cluster.helm("install", NAME, str(ROOT / "helm/audio-tune"), *self.flags, "--timeout", "10m")
        self.cluster.settled(600)
        self._still_there()

    def _back(self, selector: str) -> bool:
        pods = [p for p in self.cluster.found("pods", "-l", selector)["items"] if "deletionTimestamp" not in p["metadata"]]
        return bool(pods) and all(
            {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.get("Ready") == "True" for pod in pods
        )

    def _still_there(self) -> None:
        told = self._in_studio(f"print(store.get('manifests/e2e/{self.kept}').decode())")
        if "here" not in told:
            raise ClusterError(f"what was kept is gone: {told}")

    def _in_studio(self, lines: str) -> str:
        code = f"from audiotune.store import open_store\nstore = open_store()\n{lines}\n"
        return self.cluster.kubectl("exec", f"deploy/{NAME}-studio", "--", "python", "-c", code)

    def _owner(self) -> dict[str, Any] | None:
        told = self.cluster.kubectl("get", "secret", f"{NAME}-first-owner", "-o", "json", check=False)
        return json.loads(told) if told else None

    def stages(self) -> list[Callable[[], None]]:
        whole = [] if self.light else [self.helm_test]
        return [
            self.images, self.install, self.ready, self.nothing_comes_in_from_outside, self.the_first_owner_signs_in,
            self.keep_something, *whole, self.upgrade, self.rollback, self.kill_one_by_one, self.uninstall, self.reinstall,
        ]  # fmt: skip

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


def _played(journey: Journey) -> str:
    """Plays the stages and prints the time of each; what failed, or ""."""
    for stage in journey.stages():
        name, start = stage.__name__.replace("_", " "), time.monotonic()
        try:
            stage()
        except (ClusterError, subprocess.SubprocessError) as e:
            return f"{name}: {e}"
        print(f"{time.monotonic() - start:7.1f} s  {name}", flush=True)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--light", action="store_true", help="without the images that hold torch")
    parser.add_argument(
        "--no-build", action="store_true", help="deploy/values/images.yaml and images.lock name pushed images already"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--spare", action="store_true", help="the light part, and only if no image takes long to build")
    args = parser.parse_args()
    if reason := why_not() or (args.spare and without(f"{name}:{version()}" for name in LIGHT)):
        print(f"the cluster part is left out: {reason}")
        return 0
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if args.spare and free_gb < SPARE_DISK_GB:
        print(f"the cluster part is left out: {free_gb:.0f} GB of disk are free, {SPARE_DISK_GB} are needed")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    was_up, began = up(), time.monotonic()
    try:
        journey = Journey(light=args.light, build=not args.no_build, spare=args.spare)
    except subprocess.CalledProcessError as e:
        print(f"the cluster part is left out: the lab does not start: {(e.stderr or b'').decode()[-500:]}")
        return 0 if args.spare else 1
    try:
        failed = _played(journey)
    except LeftOutError as e:
        print(f"the cluster part is left out: {e}")
        return 0
    finally:
        if not args.keep:
            journey.clean()
            if not was_up:
                down()
    if failed:
        print(f"e2e: {failed}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:7.1f} s  in all; every stage passed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
