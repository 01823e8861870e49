"""Webhooks: tells a job's end to the address its member gave; signed, tried again, and never sent into the group's own network.

The signature is that of standardwebhooks.com: HMAC-SHA256 over "<id>.<time>.<body>", in the header `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from services.generation.jobs.book import Book
from services.generation.jobs.record import Job
from services.generation.jobs.telling import Telling, Try
from services.generation.problems import Problem
from services.generation.settings import Settings

_PAUSES_S = (0.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)  # between tries; then it is given up
_TIMEOUT_S = 10.0
_LONGEST = timedelta(days=1)
Resolve = Callable[[str, int], list[str]]


def check(url: str, settings: Settings, resolve: Resolve | None = None) -> tuple[SplitResult, str]:
    """The parts of an address that webhooks may be sent to, and the IP address to connect to.

    Raises Problem 422: no secret is set, not https, not public; hosts in `webhook_hosts` may be neither.
    """
    if not settings.webhook_secret.get_secret_value():
        raise _refused("this service sends no webhooks (it has no secret to sign them with)")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _refused("no address") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        raise _refused("give https://host/path")
    allowed = {name.strip().lower() for name in settings.webhook_hosts.split(",") if name.strip()}
    trusted = bool({host.lower(), f"{host}:{port}".lower()} & allowed)
    if parts.scheme != "https" and not trusted:
        raise _refused("give https://host/path")
    try:
        found = (resolve or _resolved)(host, port)
    except (OSError, UnicodeError):
        raise _refused("the host is not known") from None
    if not found or not (trusted or all(_public(address) for address in found)):
        raise _refused("the host is not a public one")
    return parts, found[0]


def signature(secret: str, id: str, at: str, body: bytes) -> str:
    right = hmac.digest(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(right).decode()


def send(url: str, job: Job, settings: Settings, facts: dict[str, Any]) -> int:
    """One try; the status that the other side answers. The address is resolved and checked anew: names can move."""
    parts, address = check(url, settings)
    body, at = json.dumps(facts).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "audio-tune",
        "webhook-id": job.id,
        "webhook-timestamp": at,
        "webhook-signature": signature(settings.webhook_secret.get_secret_value(), job.id, at, body),
    }
    connection = _connection(parts, address)
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        return connection.getresponse().status  # redirects are not followed
    finally:
        connection.close()


class Hooks:
    """Sends what is due, in a thread of its own. Two replicas may both tell: the `webhook-id` is the same."""

    def __init__(self, book: Book, settings: Settings, told: Callable[[Job], dict[str, Any]]) -> None:
        self._book, self._settings, self._told = book, settings, told
        self._dead = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="hooks")

    def start(self) -> Hooks:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._dead.set()

    def _loop(self) -> None:
        while not self._dead.wait(self._settings.jobs_poll_s):
            try:
                self.round(datetime.now(UTC))
            except Exception:  # the store is away; the markers wait there
                continue

    def round(self, now: datetime) -> None:
        """Tells the ends that have not been told, each in its turn."""
        for stamp, member, id in list(self._book.untold()):
            before = self._book.telling(member, id)
            if before.next is not None and before.next > now:
                continue
            job = self._book.glance(member, id)
            if job is not None and not job.ended:
                continue
            after = self._tried(job, before, now) if job is not None else before
            if job is None or after.state != "waiting":
                self._book.was_told(stamp, member, id)

    def _tried(self, job: Job, before: Telling, now: datetime) -> Telling:
        tries = (*before.tries, self._try(job, now))
        state: Literal["waiting", "told", "given up"] = "told" if tries[-1].heard else "waiting"
        if state == "waiting" and (len(tries) >= len(_PAUSES_S) or now - job.changed > _LONGEST):
            state = "given up"
        pause = timedelta(seconds=_PAUSES_S[len(tries)]) if state == "waiting" else None
        after = Telling(state=state, tries=tries, next=now + pause if pause is not None else None)
        self._book.keep_telling(job.member, job.id, after)
        return after

    def _try(self, job: Job, now: datetime) -> Try:
        try:
            return Try(at=now, status=send(job.webhook, job, self._settings, self._told(job)))
        except Problem as e:
            return Try(at=now, problem=e.detail)
        except (OSError, http.client.HTTPException) as e:
            return Try(at=now, problem=f"no answer ({type(e).__name__})")


def _connection(parts: SplitResult, address: str) -> http.client.HTTPConnection:
    """Connects to the address that was checked, whatever the name resolves to a moment later."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, parts.port, timeout=_TIMEOUT_S)
    plain = socket.create_connection((address, connection.port), timeout=_TIMEOUT_S)
    connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
    return connection


def _resolved(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


def _refused(why: str) -> Problem:
    return Problem(422, f"webhook: {why}", errors=[{"field": "webhook", "message": why}], code="bad-webhook")
