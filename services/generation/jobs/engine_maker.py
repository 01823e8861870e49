"""Makes the worker's jobs on the engine, and keeps their sounds."""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import CancelledError
from dataclasses import dataclass

from audiotune.access.membership import judge_membership
from audiotune.governance import read_current_agreement
from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.refusals import build_left_error
from services.generation.engine.request_planning import GenerationPlan, plan_request
from services.generation.engine.sound_files import SoundFileWriter, check_bit_depth
from services.generation.engine.work import ANYONE, EngineWork
from services.generation.errors import (
    AdapterLookupError,
    BusyError,
    NotReadyError,
    ReleaseWithdrawnError,
    UnknownReleaseError,
    WithdrawnError,
)
from services.generation.jobs.events import GenerationJob, JobEvent
from services.generation.jobs.worker import JobMaker

_AGAIN_S = 2.0
_FOREVER_S = 86_400.0  # jobs have no client that would hang up
_MOST_INITS = 4  # jobs at work that start from a sound
_LEFT_FREE = 0.5  # of what a member may have waiting: for requests that somebody waits for


@dataclass
class JobHandle:
    """A job at work, or what refused it, or neither while its adapters cannot be looked up."""

    job: GenerationJob
    plan: GenerationPlan | None = None
    work: EngineWork | None = None
    refused: Exception | None = None
    again_at: float = 0.0  # on the monotonic clock: when it is tried again


class EngineMaker(JobMaker):
    """See the module."""

    def __init__(self, engine: Engine, store: Store, adapters: AdapterResolver) -> None:
        self._engine, self._store, self._adapters = engine, store, adapters

    def is_ready(self) -> bool:
        loaded = self._engine.loaded_releases
        return loaded.default_release is not None or bool(loaded.withdrawn)  # jobs that name a withdrawn release are told so

    def has_room(self, member: str) -> bool:
        return self._engine.free_part(member) > _LEFT_FREE

    def can_begin(self, job: GenerationJob, beside: Collection[GenerationJob]) -> bool:
        """Its release is served, or will never be; and few jobs with init sounds are in memory."""
        if _has_init(job) and sum(map(_has_init, beside)) >= _MOST_INITS:
            return False
        if self._engine.loaded_releases.is_sought(job.request.release):
            return False
        try:
            self._engine.loaded_releases.get(job.request.release)
        except WithdrawnError:
            return self._is_refused(job)
        except NotReadyError:
            return False
        except UnknownReleaseError:
            return True  # to begin it is to say so
        return True

    def _is_refused(self, job: GenerationJob) -> bool:
        """Whether a job whose release was withdrawn ends with that: it named it, and nothing else plays under its name."""
        return bool(job.request.release) and not self._engine.loaded_releases.is_sought(job.request.release)

    def begin(self, job: GenerationJob) -> JobHandle:
        handle = JobHandle(job)
        self._submit_job(handle)
        return handle

    def _submit_job(self, handle: JobHandle) -> None:
        job = handle.job
        self._require_member(job.member)
        try:
            loaded = self._engine.loaded_releases.get(job.request.release)
        except WithdrawnError as e:
            if self._is_refused(job):
                raise ReleaseWithdrawnError(e.what, cure=e.cure) from e
            raise
        try:
            plan = plan_request(self._engine.settings, self._adapters, loaded, job.request, self._store, job.member)
        except AdapterLookupError:  # the job stays claimed and does not hold up those behind it
            handle.again_at = time.monotonic() + _AGAIN_S
            return
        handle.work, handle.plan = self._engine.submit(loaded, plan.asked, job.member, _FOREVER_S, bounded=False), plan

    def _require_member(self, member: str) -> None:
        """A token is asked for when a job is made, which may be long ago. Raises MemberLeftError."""
        if member != ANYONE and judge_membership(read_current_agreement(self._store), member) != "member":
            raise build_left_error(member)

    def is_done(self, handle: JobHandle) -> bool:
        if handle.work is None and handle.refused is None and time.monotonic() >= handle.again_at:
            try:
                self._submit_job(handle)
            except (BusyError, NotReadyError):
                pass
            except Exception as e:
                handle.refused = e
        return handle.refused is not None or (handle.work is not None and handle.work.result.done())

    def end_event(self, job: GenerationJob, handle: JobHandle) -> JobEvent:
        if handle.refused is not None:
            raise handle.refused
        assert handle.work is not None
        assert handle.plan is not None
        try:
            sounds = handle.work.result.result(timeout=0)
        except (CancelledError, NotReadyError):
            return JobEvent(kind="back")
        format = job.request.format or "wav"
        check_bit_depth(job.request, format)
        writer = SoundFileWriter(handle.work.loaded, job.request, handle.plan, format, job.member, self._store)
        return JobEvent(kind="done", sounds=tuple(writer.write_sound(n, sound)[1] for n, sound in enumerate(sounds)))

    def cancel(self, handle: JobHandle) -> None:
        if handle.work is not None:
            self._engine.cancel(handle.work)


def _has_init(job: GenerationJob) -> bool:
    return job.request.init_audio is not None or job.request.init_sound is not None  # "" where the audio was not read
