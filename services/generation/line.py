"""The line of waiting jobs: first come, first served; bounded; who leaves frees the place at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from audiotune.errors import GenerationError
from audiotune.release import Release
from audiotune.sound import Sound


class BusyError(GenerationError):
    """The line is full. `retry_s`: when it will probably not be."""

    def __init__(self, waiting: int, retry_s: int) -> None:
        super().__init__(f"{waiting} requests are waiting already", cure=f"try again in {retry_s} s")
        self.retry_s = retry_s


@dataclass(frozen=True)
class Loaded:
    """A release in memory."""

    release: Release
    model: Any  # audiotune.stable_audio.load.StableAudio

    @property
    def longest_s(self) -> float:
        return float(self.model.window_frames / self.model.sample_rate_hz)


@dataclass(eq=False)
class Job:
    """Sounds that are asked for. `cancelled` stops it at the next denoising step."""

    requests: list[Any]
    loaded: Loaded
    result: Future[list[Sound]] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def steps(self) -> int:
        return sum(int(request.steps) for request in self.requests)

    def on_step(self, done: int, total: int) -> None:
        """Raises CancelledError when nobody waits any more."""
        if self.cancelled.is_set():
            raise CancelledError


class Line:
    """At most `places` waiting jobs. `cost_s` predicts a job's seconds."""

    def __init__(self, places: int, cost_s: Callable[[Job], float]) -> None:
        self._places, self._cost_s = places, cost_s
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def join(self, job: Job) -> None:
        """Raises BusyError."""
        with self._changed:
            if len(self._jobs) >= self._places:
                # One place is free when the first who waits is served; the one at work is counted as half done.
                raise BusyError(len(self._jobs), max(1, round(1.5 * self._cost_s(self._jobs[0]))))
            self._jobs.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """The client has gone: a waiting job loses its place, a running one stops at its next step."""
        job.cancelled.set()
        job.result.cancel()
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def next(self) -> Job | None:
        """Waits for the next job; None when the line is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return None if self._closed else self._jobs.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
