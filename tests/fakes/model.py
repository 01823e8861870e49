"""A release that needs no weights: tones whose pitch is the seed, behind the generation service's own ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiotune.errors import AudioTuneError, RegistryError
from audiotune.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.sound import Sound
from services.generation.following import Models
from services.generation.work import Loaded

RATE_HZ = 44_100


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


class FakeModels(Models):
    """What the registry would say.

    Attributes:
        at: version under the alias, or None.
        broken: versions that cannot be loaded.
        withdrawn: what consent raises, if anything.
        loads: how often a load was tried.
        others: further releases, name -> version.
        away: the registry does not answer.
        roomy: whether memory holds two versions at once.
        kept: what the local cache holds.
    """

    def __init__(self, at: str | None = "1") -> None:
        self.at, self.broken, self.loads = at, set[str](), 0
        self.withdrawn: AudioTuneError | None = None
        self.others: dict[str, str | None] = {}
        self.away, self.roomy = False, True
        self.kept: list[Release] = []

    def versions(self) -> dict[str, str | None]:
        if self.away:
            raise RegistryError("the registry is away")
        return {"patch-bay": self.at, **self.others}

    def load(self, name: str, version: str) -> Loaded:
        self.loads += 1
        self.consent(a_release(version, name))
        if version in self.broken:
            raise AudioTuneError("the weights do not fit", where=f"version {version}")
        return a_loaded(version, name)

    def consent(self, release: Release) -> None:
        if self.withdrawn:
            raise self.withdrawn

    def fits_beside(self, name: str, version: str, old: Loaded) -> bool:
        return self.roomy

    def remember(self, release: Release) -> None:
        self.kept.append(release)

    def remembered(self) -> list[Loaded]:
        if not self.kept:
            raise AudioTuneError("nothing was served here before")
        return [a_loaded(self.kept[-1].version, self.kept[-1].name)]


def a_loaded(version: str = "1", name: str = "patch-bay") -> Loaded:
    """A model of four seconds that only tones know how to play."""
    inner = SimpleNamespace(model=None)
    model = SimpleNamespace(
        window_frames=4 * RATE_HZ, sample_rate_hz=RATE_HZ, objective="v", downsampling_ratio=1024, model=inner
    )  # fmt: skip
    return Loaded(a_release(version, name), model)


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
        self, model: Any, requests: Sequence[Any], on_step: Callable[[int, int], None] | None = None,
        gone: Callable[[], Collection[int]] | None = None,
    ) -> list[Sound | None]:  # fmt: skip
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
        tone = 0.0 if self.silent else 0.3 * np.sin(2 * np.pi * (100 + request.seed % 1000) * t)
        return Sound(np.stack([tone * np.ones_like(t)] * 2).astype(np.float32), model.sample_rate_hz)
