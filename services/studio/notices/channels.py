"""The ways by which members are told: a webhook, e-mail, a Matrix room. Each sends one notice to one receiver, and raises where it failed.

The operator names the servers. As with every address they must be public, and https where that is spoken, unless `notice_hosts` names them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
import ssl
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import quote

import httpx

from audiotune.errors import AddressError
from audiotune.outside.public_addresses import resolve_public_host
from audiotune.outside.webhooks import check_address, is_named_host, post_webhook, send_checked
from audiotune.store.port import Store
from services.studio.notices.addresses import read_address
from services.studio.notices.notice import Notice
from services.studio.settings import StudioSettings

TRY_S = 15.0
LOG = logging.getLogger("audiotune.studio")
# What a server that is away, slow or unwilling raises. Its words may hold addresses, so that only names of types are logged.
FAILURES = (AddressError, OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL, smtplib.SMTPException, ssl.SSLError)


class NoticeRefusedError(OSError):
    """A server answered, and did not take the notice."""


class NoticeChannel(Protocol):
    """A way of telling. `name`: of its part of the outbox."""

    name: str

    def list_receivers(self, notice: Notice) -> Iterable[str]:
        """Who is told by it: members, or "" for a receiver that stands for the group."""
        ...

    def send(self, notice: Notice, receiver: str, id: str) -> None:
        """Sends it; the same `id` each time it is tried again. Raises one of FAILURES."""
        ...


class WebhookChannel:
    """Posts every notice as JSON to one address."""

    name = "webhook"

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = settings

    def list_receivers(self, notice: Notice) -> Iterable[str]:
        return ("",)

    def send(self, notice: Notice, receiver: str, id: str) -> None:
        settings = self._settings
        parts, address = check_address(settings.notice_webhook, settings.notice_hosts)
        body = json.dumps({**notice.model_dump(mode="json"), "url": settings.public_url}, ensure_ascii=False).encode()
        status = post_webhook(parts, address, id, body, settings.notice_webhook_secret, TRY_S)
        if not 200 <= status < 300:
            raise NoticeRefusedError(status, "refused")


class MatrixChannel:
    """Writes every notice into one room. A server takes a notice of the same id once."""

    name = "matrix"

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = settings

    def list_receivers(self, notice: Notice) -> Iterable[str]:
        return ("",)

    def send(self, notice: Notice, receiver: str, id: str) -> None:
        settings, room = self._settings, quote(self._settings.matrix_room, safe="")
        url = f"{settings.matrix_url.rstrip('/')}/_matrix/client/v3/rooms/{room}/send/m.room.message/{id}"
        parts, address = check_address(url, settings.notice_hosts)
        words = _write_sentence(notice, settings.public_url)
        body = json.dumps({"msgtype": "m.notice", "body": words}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {settings.matrix_token}"}
        status = asyncio.run(send_checked("PUT", parts, address, body, headers, TRY_S))
        if not 200 <= status < 300:
            raise NoticeRefusedError(status, "refused")


class MailChannel:
    """Sends a notice to each member whom it concerns and who gave an address, in a mail of its own."""

    name = "mail"

    def __init__(self, settings: StudioSettings, store: Store) -> None:
        self._settings, self._store = settings, store

    def list_receivers(self, notice: Notice) -> Iterable[str]:
        return [member for member in notice.to if read_address(self._store, member)]

    def send(self, notice: Notice, receiver: str, id: str) -> None:
        to = read_address(self._store, receiver)
        if not to:  # they forgot it meanwhile
            return
        settings = self._settings
        if not is_named_host(settings.smtp_host, settings.smtp_port, settings.notice_hosts):
            resolve_public_host(settings.smtp_host, settings.smtp_port)
        try:
            with self._connect() as server:
                server.send_message(self._write_mail(notice, to, id))
        except smtplib.SMTPRecipientsRefused as e:
            if all(code >= 500 for code, _ in e.recipients.values()):  # for good: no later try helps
                LOG.warning("notices: the mail server refuses the address of %s", receiver)
                return
            raise

    def _connect(self) -> smtplib.SMTP:
        """A connection, encrypted and signed in as the settings ask."""
        settings, context = self._settings, ssl.create_default_context()
        if settings.smtp_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(settings.smtp_host, settings.smtp_port, timeout=TRY_S, context=context)
        else:
            server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TRY_S)
        try:
            if settings.smtp_security == "starttls":
                server.starttls(context=context)  # raises where the server offers none: nothing is sent in the clear
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password)
        except BaseException:
            server.close()
            raise
        return server

    def _write_mail(self, notice: Notice, to: str, id: str) -> EmailMessage:
        mail, words = EmailMessage(), _write_sentence(notice, "")
        mail["From"], mail["To"] = self._settings.smtp_from, to
        mail["Subject"] = " ".join(words.split())[:150]
        mail["Date"] = format_datetime(notice.time)
        mail["Message-ID"] = f"<{id}@{self._settings.smtp_from.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answer comes back
        link = f"\n\n{self._settings.public_url}" if self._settings.public_url else ""
        end = "You get this because you gave this address on the studio's Account page, where you can also take it away."
        mail.set_content(f"{words}{link}\n\n{end}\n")
        return mail


def list_channels(settings: StudioSettings, store: Store) -> list[NoticeChannel]:
    """Those that the operator has set."""
    channels: list[NoticeChannel] = [WebhookChannel(settings)] if settings.notice_webhook else []
    channels += [MatrixChannel(settings)] if settings.matrix_url else []
    return [*channels, MailChannel(settings, store)] if settings.smtp_host else channels


def _write_sentence(notice: Notice, url: str) -> str:
    words = f"{notice.words[:1].upper()}{notice.words[1:]}."
    return f"{words} {url}" if url else words
