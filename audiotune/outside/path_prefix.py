"""The path below which a reverse proxy shows one of our servers, as in https://band.org/studio.

Some proxies take the path off a request before they pass it on, others do not. `PathPrefix` accepts both, and what comes without a
proxy, as a cluster's probes do: behind it a server sees its own paths only.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
# First parts of our servers' own paths: below them it could not be told whether a proxy has taken the path off.
_OWN = frozenset(
    (
        *("assets", "config", "docs", "docs-assets", "favicon.ico", "gradio_api", "healthz", "livez", "login", "logout"),
        *(
            "manifest.json",
            "metrics",
            "oidc",
            "openapi.json",
            "pwa_icon",
            "readyz",
            "redoc",
            "robots.txt",
            "static",
            "theme.css",
            "v1",
        ),
    )
)
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[Any, Any, Any], Awaitable[None]]


def normalise_path_prefix(text: str) -> str:
    """`/studio` for `studio`, `/studio/` and the like; "" for the root. Raises ValueError, with the cure."""
    segments = [part for part in text.strip().split("/") if part]
    if not all(map(_SEGMENT.fullmatch, segments)):
        raise ValueError(f"{text[:100]!r} is no path; write letters, digits, '-' and '_', as in /studio")
    if segments and segments[0] in _OWN:
        raise ValueError(f"/{segments[0]} is one of the server's own paths; choose another one, as in /studio")
    return "".join(f"/{part}" for part in segments)


class PathPrefix:
    """ASGI middleware. Put it before everything that looks at a path.

    Args:
        prefix: as `normalise_path_prefix` gives it. Its own address is sent on to the one with a slash behind it.
    """

    def __init__(self, app: _App, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Any, receive: Any, send: _Send) -> None:
        path = scope.get("path", "")
        if self._prefix and scope["type"] in ("http", "websocket"):
            if path == self._prefix and scope["type"] == "http":
                await _redirect(send, f"{self._prefix}/", scope.get("query_string", b""))
                return
            if path.startswith(f"{self._prefix}/"):
                raw = scope.get("raw_path") or b""
                prefix = self._prefix.encode()
                scope = {
                    **scope,
                    "path": path.removeprefix(self._prefix),
                    "raw_path": raw.removeprefix(prefix) if raw.startswith(prefix + b"/") else None,
                }
        await self._app(scope, receive, send)


async def _redirect(send: _Send, path: str, query: bytes) -> None:
    location = path.encode() + (b"?" + query if query else b"")
    headers = [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
