"""Headers that every answer carries, and a content security policy that lets the page run Gradio's scripts and no others.

Gradio's page has inline scripts, so each of its `<script>` tags is given a nonce of this answer. Its widgets are compiled from text
(`new Function`), which needs 'unsafe-eval'; markup that somebody brought in still runs nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send `Origin: null` with the studio's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self), payment=(), usb=()",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; manifest-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
_CACHED = ("/assets/", "/static/", "/favicon.ico", "/theme.css", "/gradio_api/theme.css")  # the same for everybody
_ROOTED = ((b'<base href="./"', '<base href="{}/"'), (b'href="/manifest.json"', 'href="{}/manifest.json"'))
_SCRIPT = re.compile(rb"<script(?=[\s>])")  # Gradio escapes `<` in every value that it writes into the page


class SecurityHeaders:
    """ASGI middleware. An answer that brings a header of its own keeps it.

    Args:
        base_path: below which browsers see the page; its relative addresses start there, even if the page's own lacks the last slash.
    """

    def __init__(self, app: ASGIApp, base_path: str = "") -> None:
        self._app, self._base_path = app, base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce, held = secrets.token_urlsafe(16), list[Message]()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message, scope["path"], nonce)
                if _is_page(scope, message):
                    held.append(message)
                    return
            if not held:
                await send(message)
                return
            held.append(message)
            if not message.get("more_body"):
                for each in _put_nonce(held, nonce, self._base_path):
                    await send(each)

        await self._app(scope, receive, send_with_headers)


def _add_headers(start: Message, path: str, nonce: str) -> None:
    start["headers"] = list(start["headers"])
    headers = MutableHeaders(raw=start["headers"])
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    is_file = path.startswith("/gradio_api/file")
    headers.setdefault("Content-Security-Policy", _FILE_POLICY if is_file else _PAGE_POLICY.format(nonce=nonce))
    if not path.startswith(_CACHED):
        headers.setdefault("Cache-Control", "no-store")


def _is_page(scope: Scope, start: Message) -> bool:
    """Gradio's page, which is the only HTML with scripts."""
    return scope["path"] == "/" and Headers(raw=start["headers"]).get("content-type", "").startswith("text/html")


def _put_nonce(held: list[Message], nonce: str, base_path: str) -> list[Message]:
    body = b"".join(message.get("body", b"") for message in held[1:])
    for written, rooted in _ROOTED:
        body = body.replace(written, rooted.format(base_path).encode(), 1)
    body = _SCRIPT.sub(f'<script nonce="{nonce}"'.encode(), body)
    headers = MutableHeaders(raw=held[0]["headers"])
    if "content-length" in headers and body:
        headers["Content-Length"] = str(len(body))
    return [held[0], {"type": "http.response.body", "body": body}]
