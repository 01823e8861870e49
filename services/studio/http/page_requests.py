"""The requests that the studio's pages send. Everything else that Gradio would answer is refused: 404.

A request is read and checked before Gradio sees it: its size, its content type, its form, whose page it is about, and whether the files
that it names are the sender's own. How much one member may have in work is bounded.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.studio.http.gradio_server import GradioServer
from services.studio.http.open_pages import OpenPages
from services.studio.http.refusals import RequestRefusedError
from services.studio.http.upload_folder import UploadFolder
from services.studio.sign_in.session_store import MEMBER_SCOPE_KEY

LOG = logging.getLogger("audiotune.studio")
API = "/gradio_api"
MOST_EVENTS = 24  # of one member, waiting or running
MOST_EVENTS_OF_ALL = 200  # also where nobody signs in
MOST_PAGES, MOST_PAGES_OF_ALL = 32, 500  # open ones of one member; of everybody where nobody signs in
_MOST_STREAMS, _MOST_CALLS = 96, 12  # requests of one member that are being answered: streams of pages, calls of widgets
_MOST_UNREAD = 100  # messages that wait for one page; each event has about four
_LARGEST_BODY = 256 * 1024  # bytes; a form with the longest words has a tenth of it
_DEEPEST = 24
_LONGEST_PATH, _LONGEST_NAME = 4096, 255  # what file systems take; Gradio looks for a file without asking
_PAGE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_READ = re.compile(
    rf"/(config/?|theme\.css|manifest\.json|robots\.txt|favicon\.ico|pwa_icon(/\d+)?|(static|assets)/.+)?"
    rf"|{API}/(info|app_id|user|theme\.css|startup-events|queue/status|upload_progress)/?"
)
_FILE, _HEARTBEAT = f"{API}/file=", f"{API}/heartbeat/"

Body = dict[str, Any]


@dataclass(frozen=True)
class _Sender:
    """Who sends a request; "" where nobody signs in."""

    member: str
    scope: Scope
    receive: Receive
    send: Send


class PageRequests:
    """ASGI middleware in front of Gradio's app; behind the sign-in, where there is one."""

    def __init__(self, app: ASGIApp, server: GradioServer, uploads: UploadFolder, *, signs_in: bool) -> None:
        self._app, self._server, self._uploads = app, server, uploads
        self._most_events = MOST_EVENTS if signs_in else MOST_EVENTS_OF_ALL
        self._pages = OpenPages(
            MOST_PAGES if signs_in else MOST_PAGES_OF_ALL,
            server.is_busy,
            server.close_page,
        )
        self._answering: Counter[tuple[str, str]] = Counter()
        self._posted: Mapping[str, Callable[[_Sender, Body], None]] = {
            f"{API}/queue/join": self._check_event,
            f"{API}/component_server": self._check_call,
            f"{API}/cancel": self._check_cancel,
            f"{API}/reset": lambda sender, body: None,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4404})
            return
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(_Sender(scope.get(MEMBER_SCOPE_KEY) or "", scope, receive, send_on))
        except RequestRefusedError as e:
            if begun:
                raise
            await e.build_response()(scope, receive, send)

    async def _answer(self, sender: _Sender) -> None:
        path, method = sender.scope["path"], sender.scope["method"]
        if len(path) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in path.split("/")):
            raise RequestRefusedError(404, "Not Found")
        if method == "POST" and path.rstrip("/") in self._posted:
            body = await _read_body(sender.scope, sender.receive)
            self._posted[path.rstrip("/")](sender, _parse_body(body))
            kind = "calls" if path.startswith(f"{API}/component_server") else "events"
            await self._answer_bounded(sender, kind, _MOST_CALLS, _replay(body, sender.receive))
        elif method in ("GET", "HEAD") and path.startswith(_FILE):
            self._uploads.require_own(path.removeprefix(_FILE), sender.member)
            await self._app(sender.scope, sender.receive, sender.send)
        elif method == "GET" and path.startswith(_HEARTBEAT):
            self._pages.open(_require_page(path.removeprefix(_HEARTBEAT).rstrip("/")), sender.member)
            await self._answer_bounded(sender, "streams", _MOST_STREAMS, sender.receive)
        elif method == "GET" and path == f"{API}/queue/data":
            pages = parse_qs(sender.scope["query_string"].decode("latin-1")).get("session_hash", [])
            if len(pages) != 1:
                raise RequestRefusedError(400, "This stream names no page, or several.")
            self._pages.require(pages[0], sender.member)
            await self._answer_bounded(sender, "streams", _MOST_STREAMS, sender.receive)
        elif method in ("GET", "HEAD") and _READ.fullmatch(path):
            await self._app(sender.scope, sender.receive, sender.send)
        else:
            raise RequestRefusedError(404, "Not Found")

    async def _answer_bounded(self, sender: _Sender, kind: str, most: int, receive: Receive) -> None:
        """Lets Gradio answer, unless the member has so many requests of this kind in work."""
        key = (kind, sender.member)
        if self._answering[key] >= (most if sender.member else 10 * most):
            raise RequestRefusedError(429, "Too many requests of yours are being answered.", retry_after_s=2)
        self._answering[key] += 1
        try:
            await self._app(sender.scope, receive, sender.send)
        finally:
            self._answering[key] -= 1
            if not self._answering[key]:
                del self._answering[key]

    def _check_event(self, sender: _Sender, body: Body) -> None:
        page, number, data = _require_page(body.get("session_hash")), body.get("fn_index"), body.get("data")
        if type(number) is not int or not self._server.has_event(number) or not isinstance(data, list):
            raise RequestRefusedError(400, "The page has no such event. Load it again.")
        if self._server.count_events(sender.member) >= self._most_events:
            raise RequestRefusedError(429, "Too much of yours is waiting. Try again when some of it is done.", retry_after_s=5)
        self._check_files(sender, data)
        self._pages.open(page, sender.member)
        if self._server.count_unread(page) >= _MOST_UNREAD:
            raise RequestRefusedError(429, "This page does not read its answers. Load it again.", retry_after_s=5)

    def _check_call(self, sender: _Sender, body: Body) -> None:
        page, widget = _require_page(body.get("session_hash")), body.get("component_id")
        known = type(widget) is int and self._server.has_widget(widget)
        if not known or not isinstance(body.get("fn_name"), str) or "data" not in body:
            raise RequestRefusedError(400, "The page has no such widget. Load it again.")
        self._pages.open(page, sender.member)

    def _check_cancel(self, sender: _Sender, body: Body) -> None:
        self._pages.require(_require_page(body.get("session_hash")), sender.member)

    def _check_files(self, sender: _Sender, value: Any) -> None:
        """Every file that an event names must be an upload of the sender's own, never an address or another's upload."""
        if isinstance(value, dict):
            if "path" in value and value["path"] is not None and not self._uploads.is_own(str(value["path"]), sender.member):
                raise RequestRefusedError(403, "A file of this request is not one that you uploaded here.")
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            self._check_files(sender, each)


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body; its size is looked at before and while it is read. Raises RequestRefusedError."""
    headers = Headers(scope=scope)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestRefusedError(415, "Send this as application/json.")
    too_large = RequestRefusedError(413, f"This request is longer than {_LARGEST_BODY // 1024} KiB.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LARGEST_BODY:
        raise too_large
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefusedError(400, "The request ended before it was whole.")
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            raise too_large
        if not message.get("more_body"):
            return body


def _parse_body(body: bytes) -> Body:
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
        _check_depth(parsed, _DEEPEST)
    except (ValueError, RecursionError):
        raise RequestRefusedError(400, "This is no JSON that a page of the studio sends.") from None
    if not isinstance(parsed, dict):
        raise RequestRefusedError(400, "This is no JSON that a page of the studio sends.")
    return parsed


def _check_depth(value: Any, left: int) -> None:
    """Raises ValueError for values in too many others, and for text that is no Unicode (a surrogate alone)."""
    if left < 0:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, each in value.items():
            name.encode()
            _check_depth(each, left - 1)
    elif isinstance(value, list):
        for each in value:
            _check_depth(each, left - 1)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _require_page(text: object) -> str:
    if not isinstance(text, str) or not _PAGE.fullmatch(text):
        raise RequestRefusedError(400, "This request names no page.")
    return text


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read once more; afterwards what the connection says."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
