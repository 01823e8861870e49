"""Webhooks: send a job's end to the address that its member gave; signed, tried again, and never sent into the group's own network.

A receiver that is slow or silent holds up nobody else's: each try has one deadline for all of it, several are made at once, and of those
few for one member and few to one host.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

import httpx

from audiotune.errors import AddressError, StoreError
from audiotune.outside.public_addresses import Resolve
from audiotune.outside.webhooks import check_address, post_webhook
from services.generation.errors import DamagedJobError, WebhookError
from services.generation.jobs.events import GenerationJob
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.webhook_log import WebhookAttempt, WebhookLog
from services.generation.jobs.worker import interleave_members
from services.generation.settings import GenerationSettings

_PAUSES_S = (0.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)  # between attempts; then it is given up
LOG = logging.getLogger("audiotune.generation")
TRY_S = 10.0  # for connecting, sending and the answer together
_AT_ONCE, _OF_A_MEMBER, _TO_A_HOST = 16, 4, 2
_LONGEST = timedelta(days=1)
_LATER = timedelta(seconds=60)  # for what cannot be read now
Marker = tuple[str, str, str]  # (stamp, member, id)


def check_webhook(url: str, settings: GenerationSettings, resolve: Resolve | None = None) -> tuple[SplitResult, str]:
    """The parts of an address that webhooks may be sent to, and the IP address to connect to.

    Raises WebhookError: no secret is set, not https, not public; hosts in `webhook_hosts` need be neither https nor public.
    """
    if not settings.webhook_secret.get_secret_value():
        raise _webhook_error("this service sends no webhooks (it has no secret to sign them with)")
    try:
        return check_address(url, settings.webhook_hosts, resolve)
    except AddressError as e:
        raise _webhook_error(e.what) from None


def send_webhook(url: str, job: GenerationJob, settings: GenerationSettings, facts: dict[str, Any], try_s: float = TRY_S) -> int:
    """One attempt; returns the status of the receiver's answer. The address is resolved and checked anew: names can move.

    Raises WebhookError, httpx.HTTPError, TimeoutError.
    """
    parts, address = check_webhook(url, settings)
    secret = settings.webhook_secret.get_secret_value()
    return post_webhook(parts, address, job.id, json.dumps(facts).encode(), secret, try_s)


class WebhookSender:
    """Sends what is due, in threads of its own. Two replicas may both send: the `webhook-id` is the same.

    Args:
        describe_job: what is sent.
        try_s: the deadline of a try.
    """

    def __init__(
        self,
        job_store: JobStore,
        settings: GenerationSettings,
        describe_job: Callable[[GenerationJob], dict[str, Any]],
        try_s: float = TRY_S,
    ) -> None:
        self._try_s = try_s
        self._job_store, self._settings, self._describe_job = job_store, settings, describe_job
        self._dead, self._free = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="hooks")
        self._pool = ThreadPoolExecutor(_AT_ONCE, "hooks")
        self._lock = threading.Lock()
        self._at_work, self._hosts = set[Marker](), Counter[str]()
        self._due: dict[Marker, datetime] = {}  # of those that need not be looked at before
        self._places: dict[Marker, str] = {}  # host and port, of those whose job was read

    def start(self) -> WebhookSender:
        self._thread.start()
        return self

    def stop(self) -> None:
        with self._lock:
            self._dead.set()
            self._free.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_loop(self) -> None:
        while not self._dead.is_set():
            self._free.wait(self._settings.jobs_poll_s)
            self._free.clear()
            try:
                self._start_due(datetime.now(UTC))
            except StoreError:  # it is away; the markers wait there
                continue
            except Exception:  # a bug must not end the loop
                LOG.exception("webhooks")

    def send_due(self, now: datetime) -> None:
        """Sends everything that is due, and waits for it. Raises StoreError."""
        while started := self._start_due(now):
            wait(started)

    def _start_due(self, now: datetime) -> list[Future[None]]:
        """Begins what is due and has room; members take turns."""
        waiting = list(self._job_store.list_undelivered())
        still_open = {(member, id) for _, member, id in self._job_store.list_open()} if waiting else set()
        started = []
        with self._lock:
            known = set(waiting)
            self._due = {marker: at for marker, at in self._due.items() if marker in known}
            self._places = {marker: place for marker, place in self._places.items() if marker in known}
            for marker in interleave_members(waiting):
                if len(self._at_work) >= _AT_ONCE or self._dead.is_set():
                    break
                own = sum(member == marker[1] for _, member, _ in self._at_work)
                if marker in self._at_work or own >= _OF_A_MEMBER or marker[1:] in still_open or self._due.get(marker, now) > now:
                    continue
                if self._hosts[self._places.get(marker, "")] >= _TO_A_HOST:
                    continue
                self._at_work.add(marker)
                started.append(self._pool.submit(self._deliver, marker, now))
        return started

    def _deliver(self, marker: Marker, now: datetime) -> None:
        due: datetime | None = now + _LATER
        try:
            due = self._try_delivery(marker, now)
        except (DamagedJobError, StoreError):  # the store's log and health say so
            pass
        except Exception:  # a bug must not end the loop
            LOG.exception("webhooks")
        finally:
            with self._lock:
                self._at_work.discard(marker)
                self._due.pop(marker, None)
                if due is not None:
                    self._due[marker] = due
            self._free.set()  # there is room for the next one

    def _try_delivery(self, marker: Marker, now: datetime) -> datetime | None:
        """Tries it if it is due; returns when it is to be looked at again, None for the next round."""
        stamp, member, id = marker
        before = self._job_store.get_webhook_log(member, id)
        if before.next is not None and before.next > now:
            return before.next
        job = self._job_store.read_recent(member, id)
        if job is not None and not job.has_ended:
            return now + timedelta(seconds=self._settings.jobs_poll_s)
        after = before
        if job is not None:
            with self._enter_host(marker, urlsplit(job.webhook).netloc.lower()) as free:
                if not free:
                    return None
                after = self._attempt_and_log(job, before, now)
        if job is None or after.state != "waiting":
            self._job_store.mark_delivered(stamp, member, id)
        return after.next

    @contextmanager
    def _enter_host(self, marker: Marker, host: str) -> Iterator[bool]:
        """Whether one more may be sent to this host and port now."""
        with self._lock:
            self._places[marker] = host
            free = self._hosts[host] < _TO_A_HOST
            self._hosts[host] += free
        try:
            yield free
        finally:
            with self._lock:
                self._hosts[host] -= free
                self._hosts += Counter()  # drops those with none

    def _attempt_and_log(self, job: GenerationJob, before: WebhookLog, now: datetime) -> WebhookLog:
        tries = (*before.tries, self._attempt_delivery(job, now))
        state: Literal["waiting", "told", "given up"] = "told" if tries[-1].was_accepted else "waiting"
        if state == "waiting" and (len(tries) >= len(_PAUSES_S) or now - job.changed > _LONGEST):
            state = "given up"
        pause = timedelta(seconds=_PAUSES_S[len(tries)]) if state == "waiting" else None
        after = WebhookLog(state=state, tries=tries, next=now + pause if pause is not None else None)
        self._job_store.put_webhook_log(job.member, job.id, after)
        return after

    def _attempt_delivery(self, job: GenerationJob, now: datetime) -> WebhookAttempt:
        try:
            status = send_webhook(job.webhook, job, self._settings, self._describe_job(job), self._try_s)
            return WebhookAttempt(at=now, status=status)
        except WebhookError as e:
            return WebhookAttempt(at=now, problem=e.what)
        except TimeoutError:
            return WebhookAttempt(at=now, problem=f"no answer within {self._try_s:g} s")
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as e:
            return WebhookAttempt(at=now, problem=f"no answer ({type(e).__name__})")


def _webhook_error(why: str) -> WebhookError:
    return WebhookError(f"webhook: {why}", where="webhook", cure=why)
