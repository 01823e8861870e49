"""Jobs and the engine: what the runner asks for, done by the engine, the encoders and the store."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass

from audiotune.errors import AudioTuneError, StoreError
from audiotune.store.port import Store
from services.generation import files, making
from services.generation.adapters import Adapters
from services.generation.engine import Engine
from services.generation.jobs.record import Event, Job
from services.generation.jobs.runner import Maker
from services.generation.problems import Problem, of_error
from services.generation.work import AwayError, BusyError, NotReadyError, Work

_AGAIN_S = 2.0
_FOREVER_S = 86_400.0  # jobs have no client that would hang up
_ROOM = 0.5  # of what a member may fill is left to requests that somebody waits for


@dataclass
class Begun:
    """A job at work, or what refused it, or neither while its adapters cannot be looked up."""

    job: Job
    plan: making.Plan | None = None
    work: Work | None = None
    refused: Problem | None = None
    again_at: float = 0.0  # on the monotonic clock: when it is tried again


class EngineMaker(Maker):
    """Makes jobs on an engine and keeps their sounds."""

    def __init__(self, engine: Engine, store: Store, adapters: Adapters) -> None:
        self._engine, self._store, self._adapters = engine, store, adapters

    def ready(self) -> bool:
        return self._engine.shelf.current is not None

    def room(self, member: str) -> bool:
        return self._engine.room(member) > _ROOM

    def begin(self, job: Job) -> Begun:
        handle = Begun(job)
        self._start(handle)
        return handle

    def _start(self, handle: Begun) -> None:
        job = handle.job
        try:
            loaded = self._engine.shelf.get(job.request.release)
            plan = making.wanted(self._engine.settings, self._adapters, loaded, job.request, self._store, job.member)
            handle.work, handle.plan = self._engine.submit(loaded, plan.asked, job.member, _FOREVER_S, bounded=False), plan
        except Problem as e:
            handle.refused = e
        except AwayError:  # it stays claimed, and does not hold up those behind it
            handle.again_at = time.monotonic() + _AGAIN_S

    def done(self, handle: Begun) -> bool:
        if handle.work is None and handle.refused is None and time.monotonic() >= handle.again_at:
            with suppress(BusyError, NotReadyError):
                self._start(handle)
        return handle.refused is not None or (handle.work is not None and handle.work.result.done())

    def ending(self, job: Job, handle: Begun) -> Event:
        if handle.work is None or handle.plan is None:
            assert handle.refused is not None
            return _failed(handle.refused)
        try:
            sounds = handle.work.result.result(timeout=0)
            format, _ = files.format_for(job.request, "")
            keeping = files.Files(handle.work.loaded, job.request, handle.plan, format, job.member, self._store)
            made = [keeping.made(place, sound) for place, sound in enumerate(sounds)]
        except (CancelledError, NotReadyError):
            return Event(kind="back")
        except Problem as e:
            return _failed(e)
        except StoreError:  # the sounds are made and wait here until they can be kept
            raise
        except AudioTuneError as e:
            return _failed(of_error(e))
        except Exception as e:  # a bug: the job says so, the log knows more
            return _failed(Problem(500, f"something broke here ({type(e).__name__})", code="bug"))
        return Event(kind="done", sounds=tuple(record for _, record in made))

    def leave(self, handle: Begun) -> None:
        if handle.work is not None:
            self._engine.leave(handle.work)


def _failed(problem: Problem) -> Event:
    return Event(kind="failed", problem=problem.body("", ""))
