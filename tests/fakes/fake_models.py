"""A release that needs no weights: tones whose pitch is the seed, behind the generation service's own ports."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiotune.audio.sound import Sound
from audiotune.domain.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.errors import AudioTuneError, ConsentError, ModelError, RegistryError, StoreError
from audiotune.stable_audio.adapters import Adapter
from audiotune.stable_audio.known_bases import GenerationDefaults
from services.generation.engine.adapters import AdapterSource
from services.generation.engine.release_watcher import ReleaseSource
from services.generation.engine.work import LoadedRelease
from services.generation.errors import is_refusal

RATE_HZ = 44_100


def an_adapter(name: str, version: str = "1", *, base: str = "b" * 64, passed: bool = True, who: str = "bo") -> Release:
    """A release that is an adapter of the fake's base."""
    made = a_release(version, name)
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    weights = made.weights.model_copy(
        update={"adapter": f"blobs/sha256/{digest[:2]}/{digest}.safetensors", "base_digest": base, "weights_digest": base}
    )
    lineage = made.lineage.model_copy(update={"recordings": {digest: (who,)}, "base_digest": base})
    judged = Evaluation(metrics={}, passed=passed, reasons=() if passed else ("it copies",))
    return made.model_copy(update={"weights": weights, "lineage": lineage, "evaluation": judged, "notice": f"by {who}"})


def a_release(version: str = "1", name: str = "patch-bay") -> Release:
    digest = version[0] * 64
    weights = WeightsPointer(
        weights=f"blobs/sha256/{digest[:2]}/{digest}.safetensors",
        weights_digest=digest,
        config="blobs/config",
        base="tiny",
        base_digest="b" * 64,
        dataset="d" * 64,
    )
    lineage = Lineage(
        dataset="d" * 64,
        segments=("e" * 64,),
        recordings={"f" * 64: ("ana",)},
        base="tiny",
        base_digest="b" * 64,
        agreement="9" * 64,
    )
    evaluation = Evaluation(metrics={}, passed=True)
    return Release(
        name=name,
        version=version,
        weights=weights,
        lineage=lineage,
        licence="ours",
        notice="by ana",
        evaluation=evaluation,
    )


class FakeModels(ReleaseSource, AdapterSource):
    """What the registry would say.

    Attributes:
        at: version under the alias, or None.
        broken: versions that cannot be loaded.
        withdrawn: what consent raises, if anything.
        loads: how often a load was tried.
        others: further releases, name -> version.
        away: the registry does not answer.
        roomy: whether memory holds two versions at once.
        kept: what the local cache holds; it is good for grace_s after it was kept while nobody can be asked.
        adapters: registered adapters, newest version last; the alias points to that one.
        candidates: release name -> version under the alias candidate.
        unfit: digests of adapters that have other layers than the model.
        refused: members who have withdrawn.
        store_away: nobody can be asked for consent.
        questions: how often consent was asked.
        events: number of the ledger's newest event.
        tainted: versions that somebody took back their consent to; `older` are the others that may play, newest first.
        left: members who are in the group no more.
    """

    def __init__(self, at: str | None = "1") -> None:
        self.at, self.broken, self.loads = at, set[str](), 0
        self.withdrawn: AudioTuneError | None = None
        self.others: dict[str, str | None] = {}
        self.away, self.roomy = False, True
        self.kept: list[Release] = []
        self.kept_at, self.grace_s = time.monotonic(), 3600.0
        self.adapters: list[Release] = [an_adapter("grit"), an_adapter("tape")]
        self.unfit, self.refused = set[str](), set[str]()
        self.doras: set[str] = set()
        self.candidates: dict[str, str] = {}
        self.store_away, self.questions = False, 0
        self.events, self.tainted, self.older, self.left = 0, set[str](), list[str](), set[str]()

    def version_at(self, name: str, alias: str) -> str | None:
        if alias == "candidate":
            return self.candidates.get(name)
        found = [release.version for release in self._registered() if release.name == name]
        return found[-1] if found and alias == "champion" else None

    def find_release(self, name: str, version: str) -> Release | None:
        return next((release for release in self._registered() if (release.name, release.version) == (name, version)), None)

    def read_release(self, name: str, version: str) -> Release:
        if (found := self.find_release(name, version)) is None:
            raise RegistryError(f"{name} has no version {version}")
        return found

    def list_release_names(self) -> list[str]:
        return list(dict.fromkeys(release.name for release in self._registered()))

    def list_aliases(self, name: str) -> dict[str, str]:
        return {alias: version for alias in ("champion", "candidate") if (version := self.version_at(name, alias))}

    def list_releases(self, name: str) -> list[Release]:
        return [release for release in self._registered() if release.name == name]

    def list_adapters(self) -> list[Release]:
        return [release for release in reversed(self._registered()) if release.weights.adapter]

    def load_adapter(self, release: Release) -> Adapter:
        digest = release.weights.adapter_digest
        return Adapter(digest, lambda: Path("nowhere"), adds_up=digest not in self.doras)

    def check_fit(self, loaded: LoadedRelease, adapter: Adapter) -> None:
        if adapter.digest in self.unfit:
            raise ModelError("an adapter for 'model.x', which does not fit this model")

    def _registered(self) -> list[Release]:
        if self.away:
            raise RegistryError("the registry is away")
        return self.adapters

    def wanted_versions(self) -> dict[str, str | None]:
        if self.away:
            raise RegistryError("the registry is away")
        return {"patch-bay": self.at, **self.others}

    def load(self, name: str, version: str) -> LoadedRelease:
        self.loads += 1
        self.require_consent(a_release(version, name))
        if version in self.broken:
            raise AudioTuneError("the weights do not fit", where=f"version {version}")
        return a_loaded(version, name)

    def require_consent(self, release: Release) -> None:
        self.questions += 1
        if self.store_away:
            raise StoreError("the store is away")
        if gone := self.refused.intersection(release.lineage.contributors):
            raise ConsentError(f"{', '.join(sorted(gone))} has not agreed to generate")
        if release.version in self.tainted:
            raise ConsentError("ana has not agreed to generate")
        if self.withdrawn:
            raise self.withdrawn

    def require_version(self, name: str, version: str) -> None:
        self.require_consent(a_release(version, name))

    def find_clean_version(self, name: str, refused: str) -> str | None:
        return next((version for version in self.older if version not in self.tainted), None)

    def find_newest_event(self) -> int:
        if self.store_away:
            raise StoreError("the store is away")
        return self.events

    def find_left(self, members: set[str]) -> set[str]:
        return members & self.left

    def fits_beside(self, name: str, version: str, old: LoadedRelease) -> bool:
        return self.roomy

    def cache_release(self, release: Release) -> None:
        self.kept.append(release)
        self.kept_at = time.monotonic()

    def forget_release(self, release: Release) -> None:
        self.kept = [kept for kept in self.kept if kept.name != release.name]

    def load_cached(self) -> list[LoadedRelease]:
        if not self.kept:
            raise AudioTuneError("nothing was served here before")
        try:
            self.require_consent(self.kept[-1])
        except AudioTuneError as e:
            if is_refusal(e) or time.monotonic() - self.kept_at > self.grace_s:
                raise
        return [a_loaded(self.kept[-1].version, self.kept[-1].name)]


def a_loaded(version: str = "1", name: str = "patch-bay") -> LoadedRelease:
    """A model of four seconds that only tones know how to play."""
    model = SimpleNamespace(
        window_frames=4 * RATE_HZ,
        sample_rate_hz=RATE_HZ,
        channels=2,
        objective="v",
        downsampling_ratio=1024,
        patch_frames=1,
        defaults=GenerationDefaults(),
    )
    return LoadedRelease(a_release(version, name), model)


class Tones:
    """Makes sounds, one step at a time. Clear `gate` to hold it before its next step.

    Attributes:
        steps: denoising steps of all rows so far.
        batches: (seeds) of each batch, in order.
        most: rows that fit into memory.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.steps, self.most = 0, 1000
        self.silent = False
        self.batches: list[tuple[int, ...]] = []

    def __call__(
        self,
        model: Any,
        requests: Sequence[Any],
        on_step: Callable[[int, int], None] | None = None,
        gone: Callable[[], Collection[int]] | None = None,
    ) -> list[Sound | None]:
        if requests[0].prompt != "a test":
            self.batches.append(tuple(request.seed for request in requests))
        if requests[0].prompt == "a bug":
            raise ZeroDivisionError
        if len(requests) > self.most:
            raise MemoryError
        left = list(range(len(requests)))
        for step in range(requests[0].steps):
            if requests[0].prompt != "a test":
                self.gate.wait(20)
            left = [place for place in left if gone is None or place not in gone()]
            if not left:
                raise CancelledError
            self.steps += len(left)
            if on_step:
                on_step(step + 1, requests[0].steps)
        return [self._tone(model, request) if place in left else None for place, request in enumerate(requests)]

    def _tone(self, model: Any, request: Any) -> Sound:
        t = np.arange(round(request.seconds * model.sample_rate_hz)) / model.sample_rate_hz
        added = sum(int(adapter.digest[:2], 16) * strength for adapter, strength in request.adapters)
        tone = 0.0 if self.silent else 0.3 * np.sin(2 * np.pi * (100 + request.seed % 1000 + added) * t)
        return Sound(np.stack([tone * np.ones_like(t)] * 2).astype(np.float32), model.sample_rate_hz)
