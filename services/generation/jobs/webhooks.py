"""Webhooks: send a job's end to the address that its member gave; signed, tried again, and never sent into the group's own network.

The signature is that of standardwebhooks.com: HMAC-SHA256 over "<id>.<time>.<body>", in the header `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from audiotune.errors import StoreError
from services.generation.errors import DamagedJobError, WebhookError
from services.generation.jobs.events import GenerationJob
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.webhook_log import WebhookAttempt, WebhookLog
from services.generation.settings import GenerationSettings

_PAUSES_S = (0.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)  # between attempts; then it is given up
LOG = logging.getLogger("audiotune.generation")
_TIMEOUT_S = 10.0
_LONGEST = timedelta(days=1)
Resolve = Callable[[str, int], list[str]]


def check_webhook(url: str, settings: GenerationSettings, resolve: Resolve | None = None) -> tuple[SplitResult, str]:
    """The parts of an address that webhooks may be sent to, and the IP address to connect to.

    Raises WebhookError: no secret is set, not https, not public; hosts in `webhook_hosts` need be neither https nor public.
    """
    if not settings.webhook_secret.get_secret_value():
        raise _webhook_error("this service sends no webhooks (it has no secret to sign them with)")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _webhook_error("no address") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        raise _webhook_error("give https://host/path")
    allowed = {name.strip().lower() for name in settings.webhook_hosts.split(",") if name.strip()}
    trusted = bool({host.lower(), f"{host}:{port}".lower()} & allowed)
    if parts.scheme != "https" and not trusted:
        raise _webhook_error("give https://host/path")
    try:
        found = (resolve or _resolve_host)(host, port)
    except (OSError, UnicodeError):
        raise _webhook_error("the host is not known") from None
    if not found or not (trusted or all(_is_public(address) for address in found)):
        raise _webhook_error("the host is not a public one")
    return parts, found[0]


def sign_webhook(secret: str, id: str, at: str, body: bytes) -> str:
    right = hmac.digest(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(right).decode()


def send_webhook(url: str, job: GenerationJob, settings: GenerationSettings, facts: dict[str, Any]) -> int:
    """One attempt; returns the status of the receiver's answer. The address is resolved and checked anew: names can move."""
    parts, address = check_webhook(url, settings)
    body, at = json.dumps(facts).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "audio-tune",
        "webhook-id": job.id,
        "webhook-timestamp": at,
        "webhook-signature": sign_webhook(settings.webhook_secret.get_secret_value(), job.id, at, body),
    }
    connection = _open_connection(parts, address)
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        return connection.getresponse().status  # redirects are not followed
    finally:
        connection.close()


class WebhookSender:
    """Sends what is due, in a thread of its own. Two replicas may both send: the `webhook-id` is the same."""

    def __init__(
        self, job_store: JobStore, settings: GenerationSettings, describe_job: Callable[[GenerationJob], dict[str, Any]]
    ) -> None:
        self._job_store, self._settings, self._describe_job = job_store, settings, describe_job
        self._dead = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="hooks")

    def start(self) -> WebhookSender:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._dead.set()

    def _run_loop(self) -> None:
        while not self._dead.wait(self._settings.jobs_poll_s):
            try:
                self.send_due(datetime.now(UTC))
            except StoreError:  # it is away; the markers wait there
                continue
            except Exception:  # a bug must not end the loop
                LOG.exception("webhooks")

    def send_due(self, now: datetime) -> None:
        for stamp, member, id in list(self._job_store.list_undelivered()):
            before = self._job_store.get_webhook_log(member, id)
            if before.next is not None and before.next > now:
                continue
            try:
                job = self._job_store.read_recent(member, id)
            except DamagedJobError:
                continue
            if job is not None and not job.has_ended:
                continue
            after = self._attempt_and_log(job, before, now) if job is not None else before
            if job is None or after.state != "waiting":
                self._job_store.mark_delivered(stamp, member, id)

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
            return WebhookAttempt(at=now, status=send_webhook(job.webhook, job, self._settings, self._describe_job(job)))
        except WebhookError as e:
            return WebhookAttempt(at=now, problem=e.what)
        except (OSError, http.client.HTTPException) as e:
            return WebhookAttempt(at=now, problem=f"no answer ({type(e).__name__})")


def _open_connection(parts: SplitResult, address: str) -> http.client.HTTPConnection:
    """Connects to the address that was checked, whatever the name resolves to a moment later."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, parts.port, timeout=_TIMEOUT_S)
    plain = socket.create_connection((address, connection.port), timeout=_TIMEOUT_S)
    connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
    return connection


def _resolve_host(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


def _webhook_error(why: str) -> WebhookError:
    return WebhookError(f"webhook: {why}", where="webhook", cure=why)
