"""The jobs of all members in the store. Any replica may read and write it: nothing is changed, events are only added.

jobs/log/<member>/<id>/<number>.json  events; a number is written once (conditional write), so two writers cannot both win
jobs/open/<stamp>.<member>.<id>       one empty object for each job that has not ended
jobs/of/<member>/<stamp>.<id>         the member's jobs in the order of time
jobs/hooks/<stamp>.<member>.<id>      one for each job whose webhook has not been told yet
jobs/told/<member>/<id>.json          the tries to tell its webhook
jobs/workers/<worker>                 heartbeats: a worker whose own is old has lost its claims
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from audiotune.errors import AlreadyInStoreError, NotInStoreError, StoreError
from audiotune.generation import GenerationRequest
from audiotune.store.port import Store, digest_of
from services.generation.jobs.record import ENDED, ID, Event, Job, told
from services.generation.jobs.telling import Telling, forget, keep, telling

_OPEN = re.compile(rf"jobs/(?:open|hooks)/(\d{{8}}T\d{{12}})\.([a-z0-9_-]+)\.({ID})")
_OF = re.compile(rf"jobs/of/[a-z0-9_-]+/(\d{{8}}T\d{{12}})\.({ID})")

_GLANCE_S, _GLANCE_ENDED_S, _SEEN = 0.2, 60.0, 1000


class TakenError(Exception):
    """The job's id is taken by another request."""


class LostError(Exception):
    """Somebody else wrote the next event first, or the job has ended."""


class Book:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: OrderedDict[tuple[str, str], tuple[Job, float]] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, member: str, id: str, request: GenerationRequest, webhook: str = "", *, now: datetime | None = None) -> Job:
        """A new job, or the one that the same request made before. The request must carry its seed.

        Raises:
            TakenError: another request was made under this id.
        """
        digest = digest_of(request.model_dump_json(exclude={"seed"}).encode() + webhook.encode())
        event = Event(kind="made", request=request, digest=digest, webhook=webhook, at=now or datetime.now(UTC))
        try:
            self._write(member, id, 0, event)
            job = told(member, id, [event])
        except AlreadyInStoreError:
            found = self.read(member, id)
            if found is None or found.digest != digest:
                raise TakenError(id) from None
            job = found
        self._mark(job)
        return job

    def _mark(self, job: Job) -> None:
        """Writes the markers of a job; again, too, for its first writer may have died before."""
        self._store.put(f"jobs/of/{job.member}/{job.stamp}.{job.id}", b"")
        if job.webhook and job.length == 1:
            self._store.put(f"jobs/hooks/{job.stamp}.{job.member}.{job.id}", b"")
        if not job.ended:
            self._store.put(_open(job), b"")

    def read(self, member: str, id: str) -> Job | None:
        """The job as it is now, or None."""
        events = self._events(member, id)
        return told(member, id, events) if events else None

    def glance(self, member: str, id: str) -> Job | None:
        """Like `read`, but may be _GLANCE_S old; what has ended does not change and is remembered."""
        found = self.glanced(member, id) or self.read(member, id)
        if found is not None:
            with self._lock:
                if (found.member, found.id) not in self._seen:
                    self._seen[(found.member, found.id)] = (found, time.monotonic())
                while len(self._seen) > _SEEN:
                    self._seen.popitem(last=False)
        return found

    def glanced(self, member: str, id: str) -> Job | None:
        """What `glance` remembers; asks nobody."""
        with self._lock:
            job, at = self._seen.get((member, id), (None, 0.0))
            if job is not None and time.monotonic() - at > (_GLANCE_ENDED_S if job.ended else _GLANCE_S):
                del self._seen[(member, id)]
                return None
            return job

    def append(self, job: Job, event: Event) -> Job:
        """Adds the next event to a job as it was read.

        Raises:
            LostError: it is not the next one any more.
        """
        if job.ended:
            raise LostError(job.id)
        try:
            self._write(job.member, job.id, job.length, event)
        except AlreadyInStoreError:
            raise LostError(job.id) from None
        if event.kind in ENDED:
            self._store.delete(_open(job))
        found = self.read(job.member, job.id)
        assert found is not None
        return found

    def end(self, member: str, id: str, event: Event) -> Job | None:
        """Ends a job whoever writes beside us; None when there is none. Ended jobs stay as they are."""
        while (job := self.read(member, id)) is not None and not job.ended:
            try:
                return self.append(job, event)
            except LostError:
                continue
        return job

    def open(self) -> Iterator[tuple[str, str, str]]:
        """(stamp, member, id) of the jobs that have not ended, oldest first."""
        return self._marked("jobs/open/")

    def untold(self) -> Iterator[tuple[str, str, str]]:
        """(stamp, member, id) of the jobs whose webhook has not been told their end."""
        return self._marked("jobs/hooks/")

    def was_told(self, stamp: str, member: str, id: str) -> None:
        self._store.delete(f"jobs/hooks/{stamp}.{member}.{id}")

    def telling(self, member: str, id: str) -> Telling:
        """What became of the job's webhook so far."""
        return telling(self._store, member, id)

    def keep_telling(self, member: str, id: str, what: Telling) -> None:
        keep(self._store, member, id, what)

    def _marked(self, prefix: str) -> Iterator[tuple[str, str, str]]:
        for entry in self._store.list(prefix):
            match = _OPEN.fullmatch(entry.key)
            if match:
                yield match.group(1), match.group(2), match.group(3)

    def close(self, stamp: str, member: str, id: str) -> None:
        """Takes away the marker of a job that has ended, whose writer died before it could."""
        self._store.delete(f"jobs/open/{stamp}.{member}.{id}")

    def listed(self, member: str, limit: int, before: str = "") -> tuple[list[Job], str]:
        """(the member's newest jobs older than `before`, the mark to give for the next page or "")."""
        keys = [entry.key for entry in self._store.list(f"jobs/of/{member}/")]
        marks = sorted((m.group(1) + "." + m.group(2) for key in keys if (m := _OF.fullmatch(key))), reverse=True)
        page = [mark for mark in marks if not before or mark < before][: limit + 1]
        jobs = [job for mark in page[:limit] if (job := self.read(member, mark.partition(".")[2])) is not None]
        return jobs, page[limit - 1] if len(page) > limit else ""

    def alive(self, worker: str, now: datetime, lease_s: float) -> bool:
        """Whether the worker has said so within its lease."""
        try:
            said = datetime.fromisoformat(self._store.get(f"jobs/workers/{worker}").decode())
        except (NotInStoreError, ValueError):
            return False
        return now - said < timedelta(seconds=lease_s)

    def beat(self, worker: str, now: datetime) -> None:
        self._store.put(f"jobs/workers/{worker}", now.isoformat().encode())

    def farewell(self, worker: str) -> None:
        self._store.delete(f"jobs/workers/{worker}")

    def sweep(self, now: datetime, keep: timedelta) -> int:
        """Removes ended jobs and sounds whose life time is over, and heartbeats of long ago; how many jobs.

        The records of sounds stay, so that a file somebody kept can still be traced to its people.
        """
        oldest, removed = f"{now - keep:%Y%m%dT%H%M%S%f}", 0
        for entry in list(self._store.list("jobs/of/")):
            match = _OF.fullmatch(entry.key)
            if not match or match.group(1) >= oldest:
                continue
            job = self.read(entry.key.split("/")[2], match.group(2))
            if job is None or job.ended:
                for event in list(self._store.list(job.log)) if job else ():
                    self._store.delete(event.key)
                forget(self._store, entry.key.split("/")[2], match.group(2))
                self._store.delete(entry.key)
                removed += 1
        for entry in list(self._store.list("sounds/")):
            if now - entry.modified > keep:
                self._store.delete(entry.key)
        for entry in list(self._store.list("jobs/workers/")):
            if now - entry.modified > timedelta(days=1):
                self._store.delete(entry.key)
        return removed

    def _events(self, member: str, id: str) -> list[Event]:
        """Events from number 0 on, as far as they follow each other."""
        prefix = f"jobs/log/{member}/{id}/"
        keys = {entry.key for entry in self._store.list(prefix)}
        found: list[Event] = []
        while (key := f"{prefix}{len(found):06d}.json") in keys:
            try:
                found.append(Event.model_validate_json(self._store.get(key)))
            except NotInStoreError:  # swept away this moment
                return []
            except ValidationError as e:
                raise StoreError("a job's event is damaged", where=key, cure="remove the job, or start the newer version") from e
        return found

    def _write(self, member: str, id: str, number: int, event: Event) -> None:
        key = f"jobs/log/{member}/{id}/{number:06d}.json"
        self._store.put(key, event.model_dump_json(exclude_none=True).encode(), only_new=True)


def _open(job: Job) -> str:
    return f"jobs/open/{job.stamp}.{job.member}.{job.id}"
