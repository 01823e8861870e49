"""The worker: claims waiting jobs, makes them, ends them, and takes over from workers whose heartbeat ended.

A claim counts as long as its worker's heartbeat is fresh. The worker that ends a job must write the very next event after its own claim,
so a worker that was too slow finds its number taken and drops what it made: no job ends twice.

A job whose worker fell silent may be what killed it: it is made alone from then on, so that only it is tried again, and is given up
after GIVE_UP claims. A job that is handed back rests before it is claimed again, and is given up after MOST_EVENTS: its events are bounded.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from audiotune.errors import AudioTuneError
from services.generation.errors import AbandonedJobError, BusyError, DamagedJobError, NotReadyError, describe_error, is_outage
from services.generation.jobs.events import GenerationJob, JobEvent
from services.generation.jobs.job_store import JobChangedError, JobStore

LOG = logging.getLogger("audiotune.generation")
GIVE_UP = 3  # claims whose worker ended without a word: this job kills its workers
MOST_EVENTS = 200  # of one job
_LONGEST_REST_S = 60.0
_AHEAD = 16  # jobs a worker claims at once, so that batches fill
_SILENT_S = 5.0  # a heartbeat that takes longer is reported by health


class JobMaker(Protocol):
    """What makes a job's sounds, as far as the worker needs it."""

    def is_ready(self) -> bool:
        """Whether work can be begun now."""

    def has_room(self, member: str) -> bool:
        """Whether there is room for one more job of this member."""

    def can_begin(self, job: GenerationJob, beside: Collection[GenerationJob]) -> bool:
        """Whether this job can be begun now, beside those at work."""

    def begin(self, job: GenerationJob) -> Any:
        """Starts a job and returns a handle. After BusyError and NotReadyError the job waits; other errors fail it."""

    def is_done(self, handle: Any) -> bool: ...

    def end_event(self, job: GenerationJob, handle: Any) -> JobEvent:
        """The end of a handle that is done: `done`, or `back` when another worker should try. Raises what fails the job, or an
        outage while its sounds cannot be kept: the worker asks again then."""

    def cancel(self, handle: Any) -> None:
        """The job is not wanted any more."""


@dataclass
class ClaimedJob:
    job: GenerationJob
    handle: Any

    @property
    def is_suspect(self) -> bool:
        """An earlier worker ended without a word over it; `tries` counts this claim, too."""
        return self.job.tries > 1


class JobWorker:
    """See the module. `run_round` does one round; `start` does rounds in a thread.

    Args:
        lease_s: silence after which others take over.
        poll_s, cancel_s: seconds between rounds, and between looks whether another replica ended what is made here.
        keep: life time of ended jobs; zero keeps them for ever.
        describe_failure: the problem that a failed job keeps, from its error.
    """

    def __init__(
        self,
        job_store: JobStore,
        maker: JobMaker,
        *,
        lease_s: float,
        describe_failure: Callable[[Exception], dict[str, Any]],
        poll_s: float = 1.0,
        cancel_s: float = 0.2,
        keep: timedelta = timedelta(0),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.worker = uuid.uuid4().hex
        self._job_store, self._maker, self._clock, self._describe_failure = job_store, maker, clock, describe_failure
        self._lease_s, self._poll_s, self._cancel_s, self._keep = lease_s, poll_s, cancel_s, keep
        self.claimed_jobs: dict[tuple[str, str], ClaimedJob] = {}
        self._trouble, self._beating = "", 0.0
        self._lock = threading.RLock()
        self._closing, self._wake, self._dead = False, threading.Event(), threading.Event()
        self._swept: datetime | None = None
        self._threads = [
            threading.Thread(target=loop, daemon=True)
            for loop in (self._run_rounds, self._watch_cancellations, self._send_heartbeats)
        ]

    def start(self) -> JobWorker:
        for thread in self._threads:
            thread.start()
        return self

    def wake(self) -> None:
        """A new job may wait: starts a round at once."""
        self._wake.set()

    def stop_claiming(self) -> None:
        """Claims nothing more; claimed jobs are made to their end."""
        self._closing = True

    def close(self) -> None:
        """Hands back the claimed jobs and ends the heartbeat, so that others need not wait for the lease."""
        self._closing = True
        self._dead.set()
        self._wake.set()
        with self._lock:
            for claimed in self.claimed_jobs.values():
                self._maker.cancel(claimed.handle)
            if trouble := self._run_and_report(self._hand_back):
                LOG.warning("others take over after the lease: %s", trouble)

    def _hand_back(self) -> None:
        for key, claimed in list(self.claimed_jobs.items()):
            self._append_event(claimed.job, JobEvent(kind="back"))
            del self.claimed_jobs[key]
        self._job_store.delete_heartbeat(self.worker)

    def stop_job(self, member: str, id: str) -> None:
        """The job was ended from outside: stops it at its next step. A round that is under way need not be waited for."""
        claimed = self.claimed_jobs.get((member, id))
        if claimed is not None:
            self._maker.cancel(claimed.handle)

    def stop_ended_jobs(self) -> None:
        """Stops jobs that another replica was asked to end. One question to the store, however many jobs are claimed."""
        if not self.claimed_jobs:
            return
        open_jobs = {(member, id) for _, member, id in self._job_store.list_open()}
        for key, claimed in list(self.claimed_jobs.items()):
            if key not in open_jobs and self._is_lost(key, claimed):
                self._maker.cancel(claimed.handle)

    @property
    def trouble(self) -> str:
        """Why jobs are not made, or ""."""
        began = self._beating
        silent_s = time.monotonic() - began if began else 0.0
        return f"the store has not answered for {silent_s:.0f} s" if silent_s > _SILENT_S else self._trouble

    def write_heartbeat(self) -> None:
        self._beating = time.monotonic()
        try:
            self._job_store.write_heartbeat(self.worker, self._clock())
        finally:
            self._beating = 0.0

    def run_round(self) -> None:
        """One round: ends finished jobs, drops lost ones, claims waiting ones. Raises StoreError while the store is away."""
        with self._lock:
            self._end_finished()
            self._drop_lost()
            if not self._closing and self._maker.is_ready():
                self._claim_jobs()

    def _end_finished(self) -> None:
        for key, claimed in list(self.claimed_jobs.items()):
            if self._maker.is_done(claimed.handle):
                self._append_event(claimed.job, self._end_event(claimed))
                del self.claimed_jobs[key]

    def _end_event(self, claimed: ClaimedJob) -> JobEvent:
        try:
            return self._maker.end_event(claimed.job, claimed.handle)
        except Exception as e:
            if is_outage(e):  # the sounds are made and wait here until they can be kept
                raise
            return self._failed_event(e)

    def _failed_event(self, e: Exception) -> JobEvent:
        if not isinstance(e, AudioTuneError):
            LOG.error("a job failed by a bug", exc_info=e)
        return JobEvent(kind="failed", problem=self._describe_failure(e))

    def _drop_lost(self) -> None:
        """Drops jobs that were cancelled, or taken over while this worker's heartbeat was late."""
        for key, claimed in list(self.claimed_jobs.items()):
            if self._is_lost(key, claimed):
                self._maker.cancel(claimed.handle)
                del self.claimed_jobs[key]

    def _is_lost(self, key: tuple[str, str], claimed: ClaimedJob) -> bool:
        try:
            now = self._job_store.look_up(*key)
        except DamagedJobError:
            return True
        return now is None or now.length != claimed.job.length

    def _claim_jobs(self) -> None:
        alive: dict[str, bool] = {}
        for stamp, member, id in interleave_members(self._job_store.list_open()):
            if len(self.claimed_jobs) >= _AHEAD or any(claimed.is_suspect for claimed in self.claimed_jobs.values()):
                return
            if (member, id) in self.claimed_jobs or not self._maker.has_room(member):
                continue
            try:
                job = self._job_store.look_up(member, id)
            except DamagedJobError:
                continue
            if job is None or job.has_ended:
                self._job_store.delete_open_marker(stamp, member, id)
            elif self._is_taken(job, alive) or self._rests(job):
                continue
            elif 0 < job.tries < GIVE_UP and self.claimed_jobs:
                return  # it is made alone: first what is at work comes to its end
            elif job.tries >= GIVE_UP or job.length >= MOST_EVENTS:
                self._append_event(job, self._failed_event(_abandoned_error(job)))
            elif self._maker.can_begin(job, [one.job for one in self.claimed_jobs.values()]) and not self._begin_job(job):
                return

    def _rests(self, job: GenerationJob) -> bool:
        """Whether it was handed back just now; the first time, as by a worker that stops, it goes on at once."""
        if job.state == "running" or job.handed_back < 2:
            return False
        return self._clock() - job.changed < timedelta(seconds=min(_LONGEST_REST_S, 2.0 ** min(job.handed_back - 2, 10)))

    def _is_taken(self, job: GenerationJob, alive: dict[str, bool]) -> bool:
        if job.state != "running":
            return False
        if job.worker not in alive:
            alive[job.worker] = self._job_store.is_worker_alive(job.worker, self._clock(), self._lease_s)
        return alive[job.worker] and job.worker != self.worker

    def _begin_job(self, job: GenerationJob) -> bool:
        """Claims a job and starts it; False when nothing more can be started now."""
        claimed = self._append_event(job, JobEvent(kind="claimed"))
        if claimed is None:
            return True
        try:
            handle = self._maker.begin(claimed)
        except Exception as e:
            full, away = isinstance(e, BusyError | NotReadyError), is_outage(e)  # nothing is wrong with the job
            self._append_event(claimed, JobEvent(kind="back") if full or away else self._failed_event(e))
            if away:
                raise
            return not full
        self.claimed_jobs[(job.member, job.id)] = ClaimedJob(claimed, handle)
        return True

    def _append_event(self, job: GenerationJob, event: JobEvent) -> GenerationJob | None:
        try:
            return self._job_store.append(job, event.model_copy(update={"worker": self.worker, "at": self._clock()}))
        except (JobChangedError, DamagedJobError):
            return None

    def _run_rounds(self) -> None:
        self._run_and_report(self.write_heartbeat)  # a claim without a heartbeat would be taken over at once
        while not self._dead.is_set():
            self._wake.clear()
            self._trouble = self._run_and_report(self._run_round_and_expire)
            self._wake.wait(self._poll_s)

    def _run_round_and_expire(self) -> None:
        self.run_round()
        now = self._clock()
        if self._keep and (self._swept is None or now - self._swept > timedelta(minutes=10)):
            self._swept = now
            self._job_store.delete_expired(now, self._keep)

    def _watch_cancellations(self) -> None:
        while not self._dead.wait(self._cancel_s):
            self._run_and_report(self.stop_ended_jobs)

    def _send_heartbeats(self) -> None:
        while not self._dead.is_set():
            self._run_and_report(self.write_heartbeat)
            self._dead.wait(self._lease_s / 4)

    def _run_and_report(self, do: Callable[[], object]) -> str:
        """Does it, and returns what went wrong, or ""; the next round tries again."""
        try:
            do()
        except Exception as e:
            if not isinstance(e, AudioTuneError):
                LOG.exception("jobs")
            return describe_error(e)
        return ""


def _abandoned_error(job: GenerationJob) -> AbandonedJobError:
    if job.tries >= GIVE_UP:
        what = f"{job.tries} workers ended while they made it: it probably needs more memory than there is"
        return AbandonedJobError(what, cure="ask for less, or for a shorter or simpler init sound")
    return AbandonedJobError(f"it was begun and handed back {job.handed_back} times", cure="ask again when the service is well")


def interleave_members(open_jobs: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Members take turns: the oldest job of each member, then the second of each, ..."""
    turns: dict[str, int] = {}
    placed = []
    for stamp, member, id in open_jobs:
        turns[member] = turns.get(member, -1) + 1
        placed.append((turns[member], stamp, member, id))
    return [(stamp, member, id) for _, stamp, member, id in sorted(placed)]
