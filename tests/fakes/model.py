"""A release that needs no weights: tones whose pitch is the seed, behind the generation service's own ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiotune.errors import AudioTuneError
from audiotune.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.sound import Sound
from services.generation.engine import Models
from services.generation.line import Loaded

RATE_HZ = 44_100


def a_release(version: str = "1") -> Release:
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
        name="patch-bay",
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
    """

    def __init__(self, at: str | None = "1") -> None:
        self.at, self.broken, self.loads = at, set[str](), 0
        self.withdrawn: AudioTuneError | None = None

    def version(self) -> tuple[str, str] | None:
        return ("patch-bay", self.at) if self.at else None

    def load(self, name: str, version: str) -> Loaded:
        self.loads += 1
        self.consent(a_release(version))
        if version in self.broken:
            raise AudioTuneError("the weights do not fit", where=f"version {version}")
        model = SimpleNamespace(window_frames=4 * RATE_HZ, sample_rate_hz=RATE_HZ, objective="v")
        return Loaded(a_release(version), model)

    def consent(self, release: Release) -> None:
        if self.withdrawn:
            raise self.withdrawn


class Tones:
    """Makes sounds, one step at a time. Clear `gate` to hold it before its next step; `steps` counts them."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.steps = 0
        self.silent = False

    def __call__(self, model: Any, requests: Sequence[Any], on_step: Callable[[int, int], None] | None) -> list[Sound]:
        return [self._tone(model, request, on_step) for request in requests]

    def _tone(self, model: Any, request: Any, on_step: Callable[[int, int], None] | None) -> Sound:
        for step in range(request.steps):
            self.gate.wait(20)
            self.steps += 1
            if on_step:
                on_step(step + 1, request.steps)
        t = np.arange(round(request.seconds * model.sample_rate_hz)) / model.sample_rate_hz
        tone = 0.0 if self.silent else 0.3 * np.sin(2 * np.pi * (100 + request.seed % 1000) * t)
        return Sound(np.stack([tone * np.ones_like(t)] * 2).astype(np.float32), model.sample_rate_hz)
