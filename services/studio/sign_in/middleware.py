"""Sign-in in front of every page, in the same server: requests without a session are refused before Gradio sees them.

Subclasses say how a person signs in. Gradio learns the member through `auth_dependency`. Its app stays a launched one, which
checks that a file belongs to the person who asks for it. Gradio's own sign-in is not used: its sessions live as long as the
process does, even after the password has changed.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audiotune.errors import AccessError
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import format_sentence
from services.studio.sign_in.session_store import COOKIE, COOKIE_OF_HOST, COOKIE_OF_PATH, MEMBER_SCOPE_KEY

_OPEN_PATHS = ("/gradio_api/startup-events",)  # Gradio calls it itself when it is launched; the answer holds no data
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would send `Origin: null` with these forms
}
_STYLE = (Path(__file__).parent / "sign_in.css").read_text(encoding="utf-8")


class SignIn(ABC):
    """What `launch()` needs for the sign-in: a middleware and the function that names the member.

    Args:
        routes: addresses of the sign-in, besides `/logout`.
    """

    own_paths: tuple[str, ...] = ()  # prefixes of the paths in `routes`
    retry_link = Markup()  # shown to somebody who is refused

    def __init__(self, context: StudioContext, routes: Sequence[Route], middleware: Sequence[Middleware] = ()) -> None:
        self._context, self._sessions, self._life_s = context, context.sessions, round(context.settings.session_s)
        self.secure = context.settings.public_url.startswith("https://")
        self.base_path = context.settings.base_path
        self.cookie = (COOKIE_OF_PATH if self.base_path else COOKIE_OF_HOST) if self.secure else COOKIE
        answers = {AccessError: self._handle_error}
        self._own = Starlette(
            routes=[*routes, Route("/logout", self._handle_sign_out, methods=["GET", "POST"])],
            middleware=list(middleware),
            exception_handlers=answers,
        )

    @abstractmethod
    def render_sign_in(self) -> Response:
        """The page for somebody who has not signed in."""

    async def find_sign_out_url(self, proof: str) -> str:
        """The address that a browser is sent to after sign-out; "" for the studio's first page. `proof` is the session's."""
        return ""

    def middleware(self) -> Middleware:
        """The middleware for the server's app."""
        return Middleware(lambda app: functools.partial(self._handle_request, app))

    @staticmethod
    def read_member(request: Request) -> str | None:
        """The member who sends this request, as the middleware found it; Gradio calls this."""
        return request.scope.get(MEMBER_SCOPE_KEY) or None

    async def _handle_request(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/logout" or path.startswith(self.own_paths):
            await self._own(scope, receive, send)
            return
        cookies = Request({**scope, "type": "http"}).cookies
        member = await run_in_threadpool(self._sessions.find_member, cookies.get(self.cookie, ""))
        if member or path in _OPEN_PATHS:
            await app({**scope, MEMBER_SCOPE_KEY: member}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        else:
            opens_start = scope["method"] in ("GET", "HEAD") and path == "/"
            refusal = JSONResponse({"detail": "Not authenticated"}, 401, _SECURITY_HEADERS)
            await (self.render_sign_in() if opens_start else refusal)(scope, receive, send)

    def set_session_cookie(self, response: Response, text: str, *, secure: bool) -> None:
        """Sets the cookie of the browser's session."""
        response.set_cookie(
            self.cookie, text, self._life_s, path=self.base_path or "/", secure=secure, httponly=True, samesite="lax"
        )

    async def _handle_sign_out(self, request: Request) -> Response:
        """A link shows a page with a button; only the button ends the session. HEAD is a link, too."""
        if request.method != "POST":
            button = tag("form", tag("button", "Sign out", type="submit"), method="post", action=f"{self.base_path}/logout")
            return render_page("Sign out?", "You stay signed in until you press the button.", button)
        session = self._sessions.end(request.cookies.get(self.cookie, ""))
        url = await self.find_sign_out_url(session.id_token) if session else ""
        response: Response = self.redirect_to_start()
        if url:  # a form must not lead to another site (form-action), not even by a redirect
            onward = tag("p", tag("a", "Sign out there, too", href=url))
            response = render_page("You have signed out", "Your browser goes on to the sign-in provider.", onward, onward_url=url)
        response.delete_cookie(self.cookie, path=self.base_path or "/", secure=self.secure, httponly=True, samesite="lax")
        return response

    def redirect_to_start(self) -> RedirectResponse:
        """Sends the browser to the studio's first page after a sign-in, never to an address that the request names."""
        return RedirectResponse(f"{self.base_path}/", 303, _SECURITY_HEADERS)

    async def _handle_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AccessError)
        cure = tag("p", format_sentence(error.cure), class_="soft") if error.cure else Markup()
        return render_page("You cannot come in yet", format_sentence(error.what), cure, self.retry_link, status=403)


def render_page(title: str, words: str, *more: Markup, status: int = 200, onward_url: str = "") -> Response:
    """A page of the sign-in: a title, a sentence, and further parts. The browser goes on to `onward_url` by itself."""
    body = tag("main", tag("h1", title), tag("p", words), *more)
    head = join_markup(
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
        tag("meta", http_equiv="refresh", content=f"0; url={onward_url}") if onward_url else Markup(),
    )
    return HTMLResponse(f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>", status, _SECURITY_HEADERS)
