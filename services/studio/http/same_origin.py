"""Only the studio's own pages may change anything: by the name that is asked for, by Origin and by Sec-Fetch-Site.

Programs send neither of the last two headers; browsers always do, and no page can change them. A link on another site opens a page and
does nothing else. The name is checked because a site may give its own name the address of somebody's laptop (DNS rebinding), and
because Gradio builds addresses of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.studio.http.refusals import RequestRefusedError

_READING = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}
# Names that nobody outside a network can register.
_LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa", ".svc", ".cluster.local")
_CURE = "Whoever runs the studio gives the address that members type in AUDIOTUNE_STUDIO_PUBLIC_URL, or its name in AUDIOTUNE_STUDIO_HOSTS"


class SameOrigin:
    """ASGI middleware.

    Args:
        public_url: the address that members type; "" when it is not known.
        hosts: further names of the studio.
    """

    def __init__(self, app: ASGIApp, public_url: str, hosts: Iterable[str]) -> None:
        self._app, self._public = app, urlsplit(public_url.lower())
        self._names = {name for name in (self._public.hostname, *(host.strip().lower() for host in hosts)) if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_name(headers)
            self._check_origin(headers)
            _check_fetch(headers, "GET" if scope["type"] == "websocket" else scope["method"])
        except RequestRefusedError as e:
            await PlainTextResponse(e.words, e.status)(scope, receive, send)
            return
        if self._public.scheme and _read_address(headers.get("host", "")).hostname == self._public.hostname:
            scope = {**scope, "scheme": self._public.scheme}
        await self._app(scope, receive, send)

    def _check_name(self, headers: Headers) -> None:
        name = _read_address(headers.get("host", "")).hostname or ""
        if name not in self._names and not _is_local_name(name):
            raise RequestRefusedError(421, f"This studio is not known as {name[:80]!r}. {_CURE}.")

    def _check_origin(self, headers: Headers) -> None:
        """A page of another origin is refused even if it only reads: the answer could be meant for it."""
        origin = headers.get("origin")
        if origin is None:
            return
        asking, asked = urlsplit(origin.lower()), _read_address(headers.get("host", ""))
        public = _find_origin(self._public)
        allowed = {public}
        if (asked.hostname, asked.port or _PORTS.get(self._public.scheme)) != public[1:]:
            allowed.add((asking.scheme, asked.hostname, asked.port or _PORTS.get(asking.scheme)))
        if asking.hostname is None or _find_origin(asking) not in allowed:
            raise RequestRefusedError(403, f"A page of another site asks this. {_CURE}.")


def _check_fetch(headers: Headers, method: str) -> None:
    """Another site may only open a page, and not in a frame. Sites below the same domain are other sites, too."""
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return
    opens_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    if method not in _READING or not opens_page:
        raise RequestRefusedError(403, "A page of another site asks this. Open the studio and do it there.")


def _is_local_name(name: str) -> bool:
    """An address, or a name that only this machine or network gives."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(name) and ("." not in name or name.endswith(_LOCAL_SUFFIXES))
    return True


def _read_address(host: str) -> SplitResult:
    """Name and port of a Host header; neither when it is not one."""
    try:
        parts = urlsplit(f"//{host.lower()}")
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts if parts.netloc == host.lower() and "@" not in host else urlsplit("")


def _find_port(parts: SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None


def _find_origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, _find_port(parts)
