"""The engine: one thread that denoises batch after batch, each request with its own noise, as the schedule says.

Between two steps it drops sounds that are not wanted any more, and makes shorter sounds of members who are not being served. When
memory is full, the batch is split once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from audiotune.audio.sound import Sound
from audiotune.errors import GenerationError
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.refusals import Refusals
from services.generation.engine.schedule import QueueFullError, QueueLimits, Schedule
from services.generation.engine.work import EngineWork, LoadedRelease, SoundEntry, WorkSpeed
from services.generation.errors import BusyError, DeadlineError, MemoryFullError, NotReadyError
from services.generation.metrics import Metrics
from services.generation.settings import GenerationSettings

Generate = Callable[..., list[Sound | None]]
_END_S = 5.0
_FULL_WORDS = {
    "entries": "the queue is full",
    "member_entries": "you have as many requests waiting as one member may",
    "cost_s": "more work is waiting than can be done in time",
}


class Engine:
    """See the module. `generate(model, requests, on_step, gone)` makes the sounds of alike requests."""

    def __init__(self, settings: GenerationSettings, loaded: LoadedReleases, generate: Generate) -> None:
        self.settings, self.loaded_releases, self._generate = settings, loaded, generate
        self.metrics, self.speed, self.refusals = Metrics(), WorkSpeed(), Refusals()
        limits = QueueLimits(settings.queue, settings.member_queue, settings.queue_s, settings.batch, settings.batch_s)
        self._schedule = Schedule(limits)
        self._changed = threading.Condition()
        self._stopped = False
        self._left_s = 0.0  # predicted rest of the batch at work
        self._at_work: list[SoundEntry] = []
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="engine")

    def start(self) -> Engine:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Makes nothing more: what waits and what is being made fails with NotReadyError; the running batch ends before its next step."""
        with self._changed:
            self._stopped = True
            for row in [*self._schedule.remove_expired(math.inf), *self._at_work]:
                row.work.fail(_stopping_error())  # type: ignore[attr-defined]
            self._changed.notify_all()

    def join(self) -> None:
        """Waits a little for the thread to end: a process must not end while torch computes."""
        if self._thread.is_alive():
            self._thread.join(_END_S)

    @property
    def queue_length(self) -> int:
        return len(self._schedule)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        return not self._at_work and not len(self._schedule)

    def submit(
        self,
        loaded: LoadedRelease,
        requests: Sequence[Any],
        member: str = "anyone",
        patience_s: float | None = None,
        *,
        ticket: Hashable = None,
        bounded: bool = True,
    ) -> EngineWork:
        """Queues work. Raises BusyError.

        Args:
            patience_s: how long the client waits for it.
            ticket: equal for the same request asked again; a refused one that comes back in time is let in.
            bounded: whether a full queue refuses it.
        """
        now = time.monotonic()
        deadline = now + (self.settings.patience_s if patience_s is None else patience_s)
        measured = [_measure_request(loaded, request) for request in requests]
        work = EngineWork(member, loaded, list(requests), deadline, sum(steps for _, steps, _ in measured))
        work.add_rows([kind for kind, _, _ in measured], [self.speed.cost_s(units) for _, _, units in measured])
        with self._changed:
            if self._stopped:
                raise _stopping_error()
            try:
                self._schedule.add_entries(work.rows, self._left_s, now=now, ticket=ticket, bounded=bounded)
            except QueueFullError as e:
                raise BusyError(_FULL_WORDS[e.field], e.retry_s) from None
            self._changed.notify_all()
        return work

    def cancel(self, work: EngineWork) -> None:
        """The work is not wanted any more: waiting sounds are dropped, a running batch goes on without the others."""
        work.cancel()
        with self._changed:
            self._schedule.remove(work.rows)

    @property
    def members(self) -> set[str]:
        """Everybody whose work waits or is being made."""
        with self._changed:
            return {row.member for row in (*self._schedule.list_entries(), *self._at_work)}

    def drop_refused(self) -> None:
        """Ends all work that may not be made any more; a running batch goes on without it from its next step."""
        with self._changed:
            for row in (*self._schedule.list_entries(), *self._at_work):
                if error := self.refusals.find_refusal(row.work):  # type: ignore[attr-defined]
                    self._schedule.remove([row])
                    row.work.fail(error)  # type: ignore[attr-defined]

    def predict_wait(self, work: EngineWork) -> tuple[int, float]:
        """(sounds that will be made before it, predicted seconds until it is done); (0, 0) when it is at work or done."""
        with self._changed:
            waits = [self._schedule.predict_wait(row, self._left_s) for row in work.rows]
        if any(waits):
            return (waits[0] or (0, 0.0))[0], max(wait[1] for wait in waits if wait)
        return 0, 0.0 if work.result.done() else self._left_s

    def free_part(self, member: str) -> float:
        """The part of what one member's work may fill that is free, 1 to 0; less where the queue is over its bounds."""
        with self._changed:
            return self._schedule.free_part(member)

    def run_between_batches(self, change: Callable[[], Any]) -> Any:
        """Makes a change while no batch runs: waits for the running one and holds the next one back."""
        with self._changed:
            self._changed.wait_for(lambda: not self._at_work)
            return change()

    def _run_loop(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._run_batch(batch)
            finally:
                with self._changed:
                    self._at_work, self._left_s = [], 0.0
                    self._changed.notify_all()

    def _next_batch(self) -> list[SoundEntry] | None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: len(self._schedule) or self._stopped, timeout=1.0)
                if self._stopped:
                    return None
                for row in self._schedule.remove_expired(time.monotonic()):
                    _fail_if_late(row)  # type: ignore[arg-type]
                batch: list[SoundEntry] = self._schedule.take_batch()  # type: ignore[assignment]
                if batch:
                    self._at_work, self._left_s = batch, sum(row.cost_s for row in batch)
                    return batch

    def _run_batch(self, rows: list[SoundEntry], *, outer: bool = True) -> None:
        try:
            rows = self._drop_gone(rows)
            if rows:
                loaded = self._find_loaded(rows)
                self._count_queued(rows)
                self._make_batch(loaded, rows, outer=outer)
        except BaseException as e:  # whatever it is, the waiting requests must end with it
            for row in rows:
                row.work.fail(e)

    def _drop_gone(self, rows: list[SoundEntry]) -> list[SoundEntry]:
        """Without those that are not wanted any more, or may not be made."""
        for row in rows:
            if error := self.refusals.find_refusal(row.work):
                row.work.fail(error)
        return [row for row in rows if not row.is_gone]

    def _find_loaded(self, rows: list[SoundEntry]) -> LoadedRelease:
        """The release that makes these: the one they asked for, or the version that took its place, which their records then name."""
        loaded = self.loaded_releases.loaded_for(rows[0].work.loaded)
        _check_same_base(rows[0].work.loaded, loaded, rows)
        for row in rows:
            row.work.loaded = loaded
        return loaded

    def _make_batch(self, loaded: LoadedRelease, rows: list[SoundEntry], *, outer: bool = True, whole: bool = True) -> None:
        """One batch. A whole one that does not fit into memory is made in two halves, each of which is tried once."""
        try:
            self._denoise_batch(loaded, rows, outer)
            if whole:
                self.loaded_releases.exhausted = False
        except CancelledError:
            pass
        except Exception as e:
            full, middle = _memory_is_full(e), (len(rows) + 1) // 2
            if full and whole and len(rows) > 1:
                for half in (rows[:middle], rows[middle:]):
                    self._make_batch(loaded, half, outer=False, whole=False)
            else:
                self.loaded_releases.exhausted = self.loaded_releases.exhausted or full
                cure = "ask for fewer or shorter sounds, or try again later"
                for row in rows:
                    row.work.fail(MemoryFullError("the sounds do not fit into memory", cure=cure) if full else e)
        for row in rows:
            _fail_if_late(row)

    def _denoise_batch(self, loaded: LoadedRelease, rows: list[SoundEntry], outer: bool) -> None:
        began, away_s = time.monotonic(), 0.0
        cost_s = sum(row.cost_s for row in rows)

        def stepped(done: int, total: int) -> None:
            nonlocal away_s
            for row in rows:
                row.work.steps_done += 1
            if outer:
                self._left_s = cost_s * (1 - done / total)
                away_s += self._run_small_batch(rows) if done < total else 0.0

        def gone() -> frozenset[int]:
            return frozenset(place for place, row in enumerate(rows) if row.is_gone)

        sounds = self._generate(loaded.model, [row.request for row in rows], stepped, gone)
        took_s = time.monotonic() - began - away_s
        units = sum(_measure_request(loaded, row.request)[2] for row, sound in zip(rows, sounds) if sound is not None)
        self.speed.add_measurement(units, took_s)
        for row, sound in zip(rows, sounds):
            if sound is not None:
                self.metrics.generation_s.observe(took_s)
                row.work.deliver(row.place, sound)

    def _count_queued(self, rows: list[SoundEntry]) -> None:
        for row in rows:
            self.metrics.queue_s.observe(time.monotonic() - row.queued_at)

    def _run_small_batch(self, rows: list[SoundEntry]) -> float:
        """Makes shorter sounds of others between two steps; returns the seconds that took."""
        with self._changed:
            for row in self._schedule.remove_expired(time.monotonic()):
                _fail_if_late(row)  # type: ignore[arg-type]
            batch: list[SoundEntry] = self._schedule.take_small_batch(self._left_s, {row.member for row in rows})  # type: ignore[assignment]
            self._at_work = [*rows, *batch]
        if not batch:
            return 0.0
        began = time.monotonic()
        self._run_batch(batch, outer=False)
        with self._changed:
            self._at_work = rows
        return time.monotonic() - began


def _measure_request(loaded: LoadedRelease, request: Any) -> tuple[Hashable, int, float]:
    """(kind, denoising steps, units of work) of a request."""
    from audiotune.stable_audio.sample import count_latent_frames, count_steps

    frames, steps = count_latent_frames(loaded.model, request.seconds), count_steps(loaded.model, request)
    return (id(loaded), frames, *request.batch_key()), steps, WorkSpeed.count_units(steps, frames, request.guidance != 1)


def _check_same_base(asked: LoadedRelease, loaded: LoadedRelease, rows: Sequence[SoundEntry]) -> None:
    """A version that took another's place while its requests waited may be of another base; adapters are not."""
    moved = asked.release.weights.base_digest != loaded.release.weights.base_digest
    if moved and any(getattr(row.request, "adapters", ()) for row in rows):
        name = loaded.release.name
        raise GenerationError(f"{name} moved to another base, which the adapters do not fit", cure="ask again, without them")


def _fail_if_late(row: SoundEntry) -> None:
    if time.monotonic() >= row.deadline:
        row.work.fail(DeadlineError("the sound was not made in time", cure="ask for less, or later"))


def _stopping_error() -> NotReadyError:
    return NotReadyError("the service is stopping", cure="try again in a moment")


def _memory_is_full(e: Exception) -> bool:
    words = str(e).lower()
    full = "out of memory" in words or "not enough memory" in words
    return isinstance(e, MemoryError) or (isinstance(e, RuntimeError) and full)
