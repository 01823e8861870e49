"""The jobs of all members in the store. Any replica may read and write it: nothing is changed, events are only added.

The number of an event is written once (conditional write), so two writers cannot both win. Empty objects mark the jobs that have
not ended, those of each member, and those whose webhook is not delivered yet; their keys sort by time. audiotune/store/layout.py
lists the prefixes.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from audiotune.domain.generation import GenerationRequest
from audiotune.domain.member import MEMBER_ID
from audiotune.errors import AlreadyInStoreError, NotInStoreError
from audiotune.store.layout import JOB_EVENTS, MEMBER_JOBS, OPEN_JOBS, SOUNDS, WEBHOOK_LOGS, WEBHOOK_MARKERS, WORKERS, Prefix
from audiotune.store.port import Store, compute_digest
from services.generation.errors import DamagedJobError
from services.generation.jobs.events import ENDED, ID, GenerationJob, JobEvent, job_from_events
from services.generation.jobs.webhook_log import WebhookLog

LOG = logging.getLogger("audiotune.generation")
_MARKER = re.compile(rf"(\d{{8}}T\d{{12}})\.({MEMBER_ID})\.({ID})")
_MEMBER_JOB = MEMBER_JOBS.compile(rf"({MEMBER_ID})/(\d{{8}}T\d{{12}})\.({ID})")
_REMEMBER_S, _REMEMBER_ENDED_S, _MOST_REMEMBERED = 0.2, 60.0, 1000
_REMEMBER_EVENTS_S = 600.0  # events are never changed, but a job whose time is over is deleted, and its id may come again


class JobIdTakenError(Exception):
    """The job's id is taken by another request."""


class JobChangedError(Exception):
    """Another writer was first with the next event, or the job has ended."""


class JobStore:
    """See the module. What reads a job raises DamagedJobError where one of its events cannot be read; lists skip such a job."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged_keys = set[str]()  # that the log names already
        self._remembered: OrderedDict[tuple[str, str], tuple[GenerationJob, float]] = OrderedDict()
        self._events: OrderedDict[tuple[str, str], tuple[list[JobEvent], float]] = (
            OrderedDict()
        )  # with the time of the first read
        self._lock = threading.Lock()

    def create(
        self, member: str, id: str, request: GenerationRequest, webhook: str = "", *, now: datetime | None = None
    ) -> GenerationJob:
        """A new job, or the one that the same request made before. The request must carry its seed.

        Raises:
            JobIdTakenError: another request was made under this id.
        """
        digest = compute_digest(request.model_dump_json(exclude={"seed"}).encode() + webhook.encode())
        event = JobEvent(kind="made", request=request, digest=digest, webhook=webhook, at=now or datetime.now(UTC))
        try:
            self._write_event(member, id, 0, event)
            job = job_from_events(member, id, [event])
        except AlreadyInStoreError:
            found = self.read(member, id)
            if found is None or found.digest != digest:
                raise JobIdTakenError(id) from None
            job = found
        self._write_markers(job)
        return job

    def _write_markers(self, job: GenerationJob) -> None:
        """Writes the markers of a job; again, too, for its first writer may have died before."""
        self._store.put(MEMBER_JOBS.key(job.member, f"{job.stamp}.{job.id}"), b"")
        if job.webhook and job.length == 1:
            self._store.put(WEBHOOK_MARKERS.key(f"{job.stamp}.{job.member}.{job.id}"), b"")
        if not job.has_ended:
            self._store.put(_open_marker_key(job), b"")

    def exists(self, member: str, id: str) -> bool:
        """Whether a job was made under this id."""
        return self._store.exists(JOB_EVENTS.key(member, id, f"{0:06d}.json"))

    def read(self, member: str, id: str) -> GenerationJob | None:
        """The job as it is now, from its events as far as they follow each other; None when there is none."""
        events = self._read_events(member, id)
        return job_from_events(member, id, events) if events else None

    def look_up(self, member: str, id: str) -> GenerationJob | None:
        """Like `read`, but without the job's init audio, which may have megabytes: "" stands in its place. Events that were read before
        are not read again."""
        with self._lock:
            known, since = self._events.pop((member, id), ([], time.monotonic()))
        if time.monotonic() - since > _REMEMBER_EVENTS_S:
            known, since = [], time.monotonic()
        events = self._read_events(member, id, known)
        if not events:
            return None
        if events[0].request is not None and events[0].request.init_audio:
            events[0] = events[0].model_copy(update={"request": events[0].request.model_copy(update={"init_audio": ""})})
        with self._lock:
            self._events[(member, id)] = (events, since)
            while len(self._events) > _MOST_REMEMBERED:
                self._events.popitem(last=False)
        return job_from_events(member, id, events)

    def _read_events(self, member: str, id: str, known: Sequence[JobEvent] = ()) -> list[JobEvent]:
        """The events as far as they follow each other; those that are known are not read. Raises DamagedJobError."""
        prefix = JOB_EVENTS.folder(member, id)
        keys = {entry.key for entry in self._store.list(prefix)}
        events = list(known) if len(known) <= len(keys) else []
        while (key := f"{prefix}{len(events):06d}.json") in keys:
            try:
                events.append(JobEvent.model_validate_json(self._store.get(key)))
            except NotInStoreError:  # it was deleted at this moment
                return []
            except ValidationError as e:
                cure = f"start the version of Audio Tune that wrote it, or delete {prefix} from the store"
                damaged = DamagedJobError("a job's event cannot be read", where=key, cure=cure)
                if key not in self._damaged_keys:
                    self._damaged_keys.add(key)
                    LOG.error("the job is skipped: %s", damaged)
                raise damaged from e
        return events

    def read_recent(self, member: str, id: str) -> GenerationJob | None:
        """Like `look_up`, but may be _REMEMBER_S old; what has ended does not change and is remembered."""
        found = self.read_remembered(member, id) or self.look_up(member, id)
        if found is not None:
            with self._lock:
                if (found.member, found.id) not in self._remembered:
                    self._remembered[(found.member, found.id)] = (found, time.monotonic())
                while len(self._remembered) > _MOST_REMEMBERED:
                    self._remembered.popitem(last=False)
        return found

    def read_remembered(self, member: str, id: str) -> GenerationJob | None:
        """What `read_recent` remembers; the store is not asked."""
        with self._lock:
            job, at = self._remembered.get((member, id), (None, 0.0))
            if job is not None and time.monotonic() - at > (_REMEMBER_ENDED_S if job.has_ended else _REMEMBER_S):
                del self._remembered[(member, id)]
                return None
            return job

    def append(self, job: GenerationJob, event: JobEvent) -> GenerationJob:
        """Adds the next event to a job as it was read.

        Raises:
            JobChangedError: it is not the next one any more.
        """
        if job.has_ended:
            raise JobChangedError(job.id)
        try:
            self._write_event(job.member, job.id, job.length, event)
        except AlreadyInStoreError:
            raise JobChangedError(job.id) from None
        if event.kind in ENDED:
            self._store.delete(_open_marker_key(job))
        found = self.read(job.member, job.id)
        assert found is not None
        return found

    def end(self, member: str, id: str, event: JobEvent) -> GenerationJob | None:
        """Ends a job, whatever other writers do meanwhile; None when there is none. Ended jobs stay as they are."""
        while (job := self.read(member, id)) is not None and not job.has_ended:
            try:
                return self.append(job, event)
            except JobChangedError:
                continue
        return job

    def list_open(self) -> Iterator[tuple[str, str, str]]:
        """(stamp, member, id) of the jobs that have not ended, oldest first."""
        return self._list_markers(OPEN_JOBS)

    def list_undelivered(self) -> Iterator[tuple[str, str, str]]:
        """(stamp, member, id) of the jobs whose webhook is not delivered yet."""
        return self._list_markers(WEBHOOK_MARKERS)

    def mark_delivered(self, stamp: str, member: str, id: str) -> None:
        self._store.delete(WEBHOOK_MARKERS.key(f"{stamp}.{member}.{id}"))

    def get_webhook_log(self, member: str, id: str) -> WebhookLog:
        try:
            return WebhookLog.model_validate_json(self._store.get(WEBHOOK_LOGS.key(member, f"{id}.json")))
        except (NotInStoreError, ValidationError):
            return WebhookLog()

    def put_webhook_log(self, member: str, id: str, log: WebhookLog) -> None:
        self._store.put(WEBHOOK_LOGS.key(member, f"{id}.json"), log.model_dump_json(exclude_none=True).encode())

    def _list_markers(self, prefix: Prefix) -> Iterator[tuple[str, str, str]]:
        for entry in self._store.list(prefix.path):
            match = _MARKER.fullmatch(prefix.rest_of(entry.key))
            if match:
                stamp, member, id = match.groups()
                yield stamp, member, id

    def delete_open_marker(self, stamp: str, member: str, id: str) -> None:
        """Deletes the marker of an ended job whose writer died before it could."""
        self._store.delete(OPEN_JOBS.key(f"{stamp}.{member}.{id}"))

    def list_page(self, member: str, limit: int, before: str = "") -> tuple[list[GenerationJob], str]:
        """(the member's newest jobs older than `before`, the mark to give for the next page or "")."""
        keys = [entry.key for entry in self._store.list(MEMBER_JOBS.folder(member))]
        marks = sorted((m.group(2) + "." + m.group(3) for key in keys if (m := _MEMBER_JOB.fullmatch(key))), reverse=True)
        page = [mark for mark in marks if not before or mark < before][: limit + 1]
        jobs = []
        for mark in page[:limit]:
            with suppress(DamagedJobError):
                jobs.append(self.look_up(member, mark.partition(".")[2]))
        return [job for job in jobs if job is not None], page[limit - 1] if len(page) > limit else ""

    def is_worker_alive(self, worker: str, now: datetime, lease_s: float) -> bool:
        """Whether the worker's heartbeat is younger than its lease."""
        try:
            beat_at = datetime.fromisoformat(self._store.get(WORKERS.key(worker)).decode())
        except (NotInStoreError, ValueError):
            return False
        return now - beat_at < timedelta(seconds=lease_s)

    def write_heartbeat(self, worker: str, now: datetime) -> None:
        self._store.put(WORKERS.key(worker), now.isoformat().encode())

    def delete_heartbeat(self, worker: str) -> None:
        self._store.delete(WORKERS.key(worker))

    def delete_expired(self, now: datetime, keep: timedelta) -> int:
        """Removes ended jobs and sounds whose life time is over, and heartbeats of long ago; how many jobs.

        The records of sounds stay, so that a file somebody kept can still be traced to its people.
        """
        oldest, removed = f"{now - keep:%Y%m%dT%H%M%S%f}", 0
        for entry in list(self._store.list(MEMBER_JOBS.path)):
            match = _MEMBER_JOB.fullmatch(entry.key)
            if not match or match.group(2) >= oldest:
                continue
            member, _, id = match.groups()
            try:
                job = self.look_up(member, id)
            except DamagedJobError:
                continue
            if job is None or job.has_ended:
                for event in list(self._store.list(JOB_EVENTS.folder(member, id))):
                    self._store.delete(event.key)
                self._store.delete(WEBHOOK_LOGS.key(member, f"{id}.json"))
                self._store.delete(entry.key)
                removed += 1
        for prefix, longest in ((SOUNDS, keep), (WORKERS, timedelta(days=1))):
            for entry in list(self._store.list(prefix.path)):
                if now - entry.modified > longest:
                    self._store.delete(entry.key)
        return removed

    def _write_event(self, member: str, id: str, number: int, event: JobEvent) -> None:
        key = JOB_EVENTS.key(member, id, f"{number:06d}.json")
        self._store.put(key, event.model_dump_json(exclude_none=True).encode(), only_new=True)


def _open_marker_key(job: GenerationJob) -> str:
    return OPEN_JOBS.key(f"{job.stamp}.{job.member}.{job.id}")
