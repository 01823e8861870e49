"""Jobs and the engine: what the runner asks for, done by the engine, the encoders and the store."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass

from audiotune.errors import AudioTuneError, StoreError
from audiotune.store.port import Store
from services.generation.engine import request_planning, sound_files
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.work import AdapterLookupError, BusyError, EngineWork, NotReadyError
from services.generation.http.problems import ProblemError, problem_from_error
from services.generation.jobs.events import GenerationJob, JobEvent
from services.generation.jobs.worker import JobMaker

_AGAIN_S = 2.0
_FOREVER_S = 86_400.0  # jobs have no client that would hang up
_ROOM = 0.5  # of what a member may fill is left to requests that somebody waits for


@dataclass
class JobHandle:
    """A job at work, or what refused it, or neither while its adapters cannot be looked up."""

    job: GenerationJob
    plan: request_planning.GenerationPlan | None = None
    work: EngineWork | None = None
    refused: ProblemError | None = None
    again_at: float = 0.0  # on the monotonic clock: when it is tried again


class EngineMaker(JobMaker):
    """Makes jobs on an engine and keeps their sounds."""

    def __init__(self, engine: Engine, store: Store, adapters: AdapterResolver) -> None:
        self._engine, self._store, self._adapters = engine, store, adapters

    def is_ready(self) -> bool:
        return self._engine.shelf.default_release is not None

    def has_room(self, member: str) -> bool:
        return self._engine.free_part(member) > _ROOM

    def begin(self, job: GenerationJob) -> JobHandle:
        handle = JobHandle(job)
        self._submit_job(handle)
        return handle

    def _submit_job(self, handle: JobHandle) -> None:
        job = handle.job
        try:
            loaded = self._engine.shelf.get(job.request.release)
            plan = request_planning.plan_request(
                self._engine.settings, self._adapters, loaded, job.request, self._store, job.member
            )
            handle.work, handle.plan = self._engine.submit(loaded, plan.asked, job.member, _FOREVER_S, bounded=False), plan
        except ProblemError as e:
            handle.refused = e
        except AdapterLookupError:  # it stays claimed, and does not hold up those behind it
            handle.again_at = time.monotonic() + _AGAIN_S

    def is_done(self, handle: JobHandle) -> bool:
        if handle.work is None and handle.refused is None and time.monotonic() >= handle.again_at:
            with suppress(BusyError, NotReadyError):
                self._submit_job(handle)
        return handle.refused is not None or (handle.work is not None and handle.work.result.done())

    def end_event(self, job: GenerationJob, handle: JobHandle) -> JobEvent:
        if handle.work is None or handle.plan is None:
            assert handle.refused is not None
            return _failed_event(handle.refused)
        try:
            sounds = handle.work.result.result(timeout=0)
            format, _ = sound_files.choose_format(job.request, "")
            keeping = sound_files.SoundFileWriter(handle.work.loaded, job.request, handle.plan, format, job.member, self._store)
            made = [keeping.write_sound(place, sound) for place, sound in enumerate(sounds)]
        except (CancelledError, NotReadyError):
            return JobEvent(kind="back")
        except ProblemError as e:
            return _failed_event(e)
        except StoreError:  # the sounds are made and wait here until they can be kept
            raise
        except AudioTuneError as e:
            return _failed_event(problem_from_error(e))
        except Exception as e:  # a bug: the job says so, the log knows more
            return _failed_event(ProblemError(500, f"something broke here ({type(e).__name__})", code="bug"))
        return JobEvent(kind="done", sounds=tuple(record for _, record in made))

    def cancel(self, handle: JobHandle) -> None:
        if handle.work is not None:
            self._engine.cancel(handle.work)


def _failed_event(problem: ProblemError) -> JobEvent:
    return JobEvent(kind="failed", problem=problem.to_body("", ""))
