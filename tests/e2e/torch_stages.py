"""The stages with torch: helm test, a run by the stand-in, sounds with a member's token, the studio in Chromium, a swap under load."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e import browser
from tests.e2e.lab import ROOT, ClusterError
from tests.e2e.light_stages import NAME, LightStages, Stage
from tests.e2e.pipeline_run import StandInBackend
from tests.e2e.sound_requests import MemberClient

SHOTS = ROOT / "build" / "e2e"
# Runs are played in the release's own namespace, as on a multi-user Kubeflow; none is there to upload to.
_KFP = ["--set", "kfp.mode=multi-user", "--set", "kfp.endpoint=http://nobody.kubeflow:8888", "--set", "kfp.upload=false"]
_SMALL = ["--set", "pipelines.cpuRequest=100m", "--set", "pipelines.internet=false"]


class TorchStages(LightStages):
    """All of the light stages, and between them those with torch."""

    light = False
    keys: frozenset[str] = frozenset()
    sound = b""
    parts = ("generation", *LightStages.parts)

    def flags(self) -> list[str]:
        return ["-f", str(ROOT / "deploy/values/small.yaml"), *super().flags(), *_KFP, *_SMALL]

    def helm_test(self) -> None:
        print(self.cluster.helm("test", NAME, "--logs", "--timeout", "30m", timeout_s=2000))

    def a_run_makes_a_release(self) -> None:
        """The compiled pipeline, each step as a pod of its own image."""
        self.backend = StandInBackend(self.cluster, NAME)
        self.backend.upload_takes()
        self.version = self.backend.run_pipeline("short")

    def a_member_hears_it(self) -> None:
        told = self.cluster.kubectl(
            "exec", f"deploy/{NAME}-studio", "--", "python", "-m", "audiotune.access", "token", "issue", "ana", "--days", "1"
        )
        self.listener = MemberClient(self.address("generation", 3000), told.split()[-1])
        self._served(self.version)
        self.listener.refused_without_a_token()
        self.sound = self.listener.generate_sound()

    def the_studio_in_chromium(self) -> None:
        if reason := browser.missing():
            print(f"           left out: {reason}")
            return
        made = self.cluster.kubectl(
            "exec", f"deploy/{NAME}-studio", "--", "python", "-m", "audiotune.access", "account", "create", "ana"
        )
        browser.visit(self.address("studio", 7860), "ana", made.split()[-1], SHOTS)
        print(f"           pictures in {SHOTS.relative_to(Path.cwd()) if SHOTS.is_relative_to(Path.cwd()) else SHOTS}")

    def a_new_release_swaps_in_under_load(self) -> None:
        """Another run registers another champion while two clients ask for sounds; nobody is refused."""
        with self.listener.under_load() as load:
            new = self.backend.run_pipeline("usual")
            if new == self.version:
                raise ClusterError("the second run made no new version")
            self._served(new)
            time.sleep(5)  # a few sounds of the new one
        self.version = new
        print(
            f"           sounds {dict(load.heard)}, {len(load.failed)} refused, longest wait {load.longest_s:.1f} s", flush=True
        )
        if load.failed or len(load.heard) < 2:
            raise ClusterError(f"the swap was noticed: {load.failed[:3]}, heard {dict(load.heard)}")
        self.sound = self.listener.generate_sound()

    def two_replicas_are_rolled_under_load(self) -> None:
        """Every pod of the service is replaced while two clients ask for sounds; nobody is refused."""
        service = f"deployment/{NAME}-generation"
        self.cluster.kubectl("scale", service, "--replicas=2")
        self._rolled(service)
        before = self._pods()
        with self.listener.under_load() as load:
            self.cluster.kubectl("rollout", "restart", service)
            self._rolled(service)
            self.cluster.until("the old pods are gone", lambda: not before & self._pods(), 300)
        print(
            f"           sounds {sum(load.heard.values())}, {len(load.failed)} refused, longest wait {load.longest_s:.1f} s",
            flush=True,
        )
        if load.failed or not load.heard:
            raise ClusterError(f"the rollout was noticed: {load.failed[:3]}, heard {dict(load.heard)}")
        if self.listener.generate_sound() != self.sound:
            raise ClusterError("the same seed sounds different on the new pods")

    def _rolled(self, service: str) -> None:
        self.cluster.kubectl("rollout", "status", service, "--timeout=600s", timeout_s=620)

    def _pods(self) -> set[str]:
        found = self.cluster.found("pods", "-l", "app.kubernetes.io/component=generation")["items"]
        return {pod["metadata"]["name"] for pod in found}

    def keep_something(self) -> None:
        """Also what the runs and the members left: recordings, annotations, weights."""
        super().keep_something()
        self._in_studio(
            "from audiotune.domain.annotation import Annotation, save_annotation\n"
            f"save_annotation(store, Annotation(segment='{'0' * 63}1', member='ana', words='{self.kept}'))"
        )

    def still_there(self) -> None:
        """What was kept, every key of the store, and the same release that makes the same sound of the same seed."""
        super().still_there()
        keys = frozenset(
            self._in_studio("print(*(e.key for p in ('blobs/','manifests/','annotations/') for e in store.list(p)))").split()
        )
        lost = self.keys - keys
        if lost:
            raise ClusterError(f"{len(lost)} objects are gone: {sorted(lost)[:3]}")
        self.keys = keys
        if self.sound:
            self._served(self.version)
            if self.listener.generate_sound() != self.sound:
                raise ClusterError("the same seed of the same release sounds different")

    def _served(self, wanted: str) -> None:
        self.listener.url = self.address("generation", 3000)
        self.cluster.until(f"version {wanted} answers", lambda: self._hears(wanted), 600)

    def _hears(self, wanted: str) -> bool:
        return self.listener.version() == wanted

    def stages(self) -> list[Stage]:
        runs = [self.helm_test, self.a_run_makes_a_release, self.a_member_hears_it, self.the_studio_in_chromium]
        swaps = [self.a_new_release_swaps_in_under_load, self.two_replicas_are_rolled_under_load]
        return [*self.until_kept(), *runs, *swaps, *self.from_kept()]
