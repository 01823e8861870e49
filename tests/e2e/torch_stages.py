"""The stages with torch: helm test, a run by the stand-in, sounds with a member's token, the studio in Chromium, a swap under load."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.e2e import browser
from tests.e2e.cluster_access import ROOT
from tests.e2e.cluster_namespace import ClusterError
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

    def chart_options(self) -> list[str]:
        return ["-f", str(ROOT / "deploy/values/small.yaml"), *_KFP, *_SMALL, *super().chart_options()]

    def helm_test(self) -> None:
        print(self.cluster.helm("test", NAME, "--logs", "--timeout", "30m", timeout_s=2000))

    def a_run_makes_a_release(self) -> None:
        """The compiled pipeline, each step as a pod of its own image."""
        self.backend = StandInBackend(self.cluster, NAME)
        self.backend.upload_takes()
        self.version = self.backend.run_pipeline("short")

    def a_member_hears_it(self) -> None:
        issued = self.cluster.kubectl(
            "exec", f"deploy/{NAME}-governance", "--", "python", "-m", "audiotune.access", "token", "issue", "ana", "--days", "1"
        )
        self.client = MemberClient(self.open_address("generation", 3000), issued.split()[-1])
        self._wait_served(self.version)
        self.client.check_refused_without_token()
        self.sound = self.client.generate_sound()

    def the_studio_in_chromium(self) -> None:
        if reason := browser.find_obstacle():
            print(f"           left out: {reason}")
            return
        made = self.cluster.kubectl(
            "exec", f"deploy/{NAME}-governance", "--", "python", "-m", "audiotune.access", "account", "create", "ana"
        )
        browser.visit(self.open_address("studio", 7860), "ana", made.split()[-1], SHOTS)
        print(f"           pictures in {SHOTS.relative_to(Path.cwd()) if SHOTS.is_relative_to(Path.cwd()) else SHOTS}")

    def a_new_release_swaps_in_under_load(self) -> None:
        """Another run registers another champion while two clients ask for sounds; nobody is refused."""
        with self.client.under_load() as load:
            new = self.backend.run_pipeline("usual")
            if new == self.version:
                raise ClusterError("the second run made no new version")
            self._wait_served(new)
            time.sleep(5)  # a few sounds of the new one
        self.version = new
        print(
            f"           sounds {dict(load.heard)}, {len(load.failed)} refused, longest wait {load.longest_s:.1f} s", flush=True
        )
        if load.failed or len(load.heard) < 2:
            raise ClusterError(f"the swap was noticed: {load.failed[:3]}, heard {dict(load.heard)}")
        self.sound = self.client.generate_sound()

    def two_replicas_are_rolled_under_load(self) -> None:
        """Every pod of the service is replaced while two clients ask for sounds; nobody is refused."""
        if not self.cluster.access.reaches_services:
            print("           left out: a forwarded port leads to one pod and ends with it; a lab (AUDIOTUNE_LAB) has addresses")
            return
        service = f"deployment/{NAME}-generation"
        self.cluster.kubectl("scale", service, "--replicas=2")
        self._wait_rollout(service)
        before = self._list_pods()
        with self.client.under_load() as load:
            self.cluster.kubectl("rollout", "restart", service)
            self._wait_rollout(service)
            self.cluster.wait_until("the old pods are gone", lambda: not before & self._list_pods(), 300)
        print(
            f"           sounds {sum(load.heard.values())}, {len(load.failed)} refused, longest wait {load.longest_s:.1f} s",
            flush=True,
        )
        if load.failed or not load.heard:
            raise ClusterError(f"the rollout was noticed: {load.failed[:3]}, heard {dict(load.heard)}")
        if self.client.generate_sound() != self.sound:
            raise ClusterError("the same seed sounds different on the new pods")

    def a_withdrawal_ends_the_release(self) -> None:
        """Ana takes one recording back: nothing of the run's releases plays on any replica, with the reason; until they agree again."""
        find = "from audiotune.governance.ledger.ledger import open_ledger; from audiotune.store import open_store; "
        find += "print(next(r for r, people in open_ledger(open_store()).read_state().consents.items() if 'ana' in people))"
        recording = self._run_in_governance("-c", find).split()[-1]
        self._say(recording)
        began = time.monotonic()
        self.cluster.wait_until(
            "the release is withdrawn", lambda: "may not be played any more" in self.client.find_problem(), 60
        )
        print(f"           withdrawn after {time.monotonic() - began:.1f} s: {self.client.find_problem()[:200]}", flush=True)
        if any("ana has not agreed to generate" not in self.client.find_problem() for _ in range(6)):
            raise ClusterError(f"not every replica says why: {self.client.find_problem()}")
        self._say(recording, "store", "train", "release", "generate")
        self._wait_served(self.version)
        if self.client.generate_sound() != self.sound:
            raise ClusterError("the same seed sounds different after the consent was given again")

    def _say(self, recording: str, *uses: str) -> None:
        self._run_in_governance("-m", "audiotune.access", "recording", "consent", "ana", recording, "--uses", *uses)

    def _run_in_governance(self, *words: str) -> str:
        return self.cluster.kubectl("exec", f"deploy/{NAME}-governance", "--", "python", *words)

    def _wait_rollout(self, service: str) -> None:
        self.cluster.kubectl("rollout", "status", service, "--timeout=600s", timeout_s=620)

    def _list_pods(self) -> set[str]:
        found = self.cluster.get_object("pods", "-l", "app.kubernetes.io/component=generation")["items"]
        return {pod["metadata"]["name"] for pod in found}

    def keep_something(self) -> None:
        """Also an annotation, beside what the runs and the members made: recordings, annotations, weights."""
        super().keep_something()
        self._run_in_studio(
            "from audiotune.domain.annotation import Annotation, save_annotation\n"
            f"save_annotation(store, Annotation(segment='{'0' * 63}1', member='ana', words='{self.kept}'))"
        )

    def check_kept(self) -> None:
        """What was kept, every key of the store, and the same release that makes the same sound of the same seed."""
        super().check_kept()
        listed = (  # what the studio's user may list
            "from audiotune.store.layout import PREFIXES\n"
            "paths = {p.path for p in PREFIXES if p.allows('studio', 'list')}\n"
            "kept = [p for p in sorted(paths) if p.startswith(('blobs/', 'manifests/', 'annotations/'))]\n"
            "print(*(e.key for p in kept for e in store.list(p)))"
        )
        keys = frozenset(self._run_in_studio(listed).split())
        lost = self.keys - keys
        if lost:
            raise ClusterError(f"{len(lost)} objects are gone: {sorted(lost)[:3]}")
        self.keys = keys
        if self.sound:
            self._wait_served(self.version)
            if self.client.generate_sound() != self.sound:
                raise ClusterError("the same seed of the same release sounds different")

    def _wait_served(self, wanted: str) -> None:
        self.cluster.wait_until(f"version {wanted} answers", lambda: self._serves(wanted), 600)

    def _serves(self, wanted: str) -> bool:
        """At the address of now: a Service that was installed again has another, and a forwarded port ends with its pod."""
        with contextlib.suppress(ClusterError):  # no pod to forward to yet
            self.client.url = self.open_address("generation", 3000)
        return self.client.version() == wanted

    def stages(self) -> list[Stage]:
        runs = [self.helm_test, self.a_run_makes_a_release, self.a_member_hears_it, self.the_studio_in_chromium]
        swaps = [self.a_new_release_swaps_in_under_load, self.two_replicas_are_rolled_under_load]
        return [*self.stages_before_kept(), *runs, *swaps, self.a_withdrawal_ends_the_release, *self.stages_with_kept()]
