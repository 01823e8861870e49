"""What the engine works on: a release in memory, and the sounds that requests ask for."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from audiotune.audio.sound import Sound
from audiotune.domain.release import Release
from services.generation.engine.schedule import QueueEntry

ANYONE = "anyone"  # the member of every request where access is open


@dataclass(eq=False)
class LoadedRelease:
    """A release in memory. `model` becomes None when it had to make room for a newer version.

    Attributes:
        agreed_at: on the monotonic clock: when the store last said that everybody who is heard in it agrees.
        withdrawn: why nothing more may be made with it; empty while everybody agrees.
    """

    release: Release
    model: Any  # audiotune.stable_audio.load.StableAudio
    longest_s: float = 0.0
    agreed_at: float = field(default_factory=time.monotonic)
    withdrawn: str = ""

    def __post_init__(self) -> None:
        self.longest_s = float(self.model.window_frames / self.model.sample_rate_hz)


@dataclass(eq=False)
class SoundEntry(QueueEntry):
    """One sound of a work."""

    work: EngineWork = field(kw_only=True)
    place: int = field(kw_only=True)
    queued_at: float = field(default_factory=time.monotonic, kw_only=True)

    @property
    def request(self) -> Any:
        return self.work.requests[self.place]

    @property
    def is_gone(self) -> bool:
        return self.work.result.done() or time.monotonic() >= self.deadline


@dataclass(eq=False)
class EngineWork:
    """The sounds of one request. Its result is set once: sounds, an error, or cancelled.

    Attributes:
        deadline: on the monotonic clock, in seconds.
        steps_done, steps_total: denoising steps of all its sounds.
    """

    member: str
    loaded: LoadedRelease
    requests: list[Any]
    deadline: float
    steps_total: int
    result: Future[list[Sound]] = field(default_factory=Future)
    steps_done: int = 0
    rows: list[SoundEntry] = field(default_factory=list)
    _sounds: dict[int, Sound] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_rows(self, kinds: list[Hashable], costs_s: list[float]) -> None:
        self.rows = [
            SoundEntry(self.member, kind, cost_s, self.deadline, work=self, place=place)
            for place, (kind, cost_s) in enumerate(zip(kinds, costs_s))
        ]

    def deliver(self, place: int, sound: Sound) -> None:
        """Takes one sound; the last one ends the work."""
        with self._lock:
            self._sounds[place] = sound
            if len(self._sounds) == len(self.requests) and not self.result.done():
                self.result.set_result([self._sounds[i] for i in range(len(self.requests))])

    def fail(self, e: BaseException) -> None:
        with self._lock:
            if not self.result.done():
                self.result.set_exception(e)

    def cancel(self) -> None:
        """The work is not wanted any more; running work stops before its next step."""
        with self._lock:
            self.result.cancel()


class WorkSpeed:
    """How long work takes: seconds a unit, measured as work is done.

    A unit is one latent frame in one denoising step; a step costs something of its own, which counts as `STEP` frames.
    """

    STEP = 16

    def __init__(self) -> None:
        self._unit_s = 2e-4  # the tiny base on one slow core; the first batches correct it
        self._known = False

    def cost_s(self, units: float) -> float:
        return units * self._unit_s

    def add_measurement(self, units: float, seconds: float) -> None:
        if units > 0 and seconds > 0:
            self._unit_s += (0.3 if self._known else 1.0) * (seconds / units - self._unit_s)
            self._known = True

    @classmethod
    def count_units(cls, steps: int, frames: int, guided: bool) -> float:
        return float(steps * (frames + cls.STEP) * (2 if guided else 1))
