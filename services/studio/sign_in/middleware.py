"""The door: in front of every page, in the same server. Lets nobody through who has not signed in; two kinds say how that is done.

Gradio is told who came by `auth_dependency`; its own app stays a launched one, which checks whose file is asked for. Its own sign-in is
not used: it keeps a session for as long as the process lives, whatever becomes of the password.
"""

from __future__ import annotations

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

from audiotune.errors import AccessError, AudioTuneError
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.sign_in.session_store import COOKIE, COOKIE_OF_HOST, MEMBER_SCOPE_KEY

_OPEN_PATHS = ("/gradio_api/startup-events",)  # Gradio calls it itself when it is launched; it tells nothing
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_STYLE = (Path(__file__).parent / "sign_in.css").read_text(encoding="utf-8")


class SignIn(ABC):
    """Builds what `launch()` is given. Everything else is refused before Gradio sees it.

    Args:
        routes: addresses the door answers itself, besides `/logout`.
    """

    own_paths: tuple[str, ...] = ()  # beginnings of the paths in `routes`

    def __init__(self, desk: StudioContext, routes: Sequence[Route], middleware: Sequence[Middleware] = ()) -> None:
        self._desk, self._sessions, self._life_s = desk, desk.sessions, round(desk.settings.session_s)
        self.secure = desk.settings.public_url.startswith("https://")
        self.cookie = COOKIE_OF_HOST if self.secure else COOKIE
        answers = {AccessError: self._handle_error}
        self._own = Starlette(
            routes=[*routes, Route("/logout", self._sign_out)], middleware=list(middleware), exception_handlers=answers
        )

    @abstractmethod
    def render_sign_in(self) -> Response:
        """The page for somebody who has not signed in."""

    async def find_sign_out_url(self, proof: str) -> str:
        """Where a browser goes after sign-out; `proof` is the session's."""
        return "/"

    def middleware(self) -> Middleware:
        """For the server's app."""
        return Middleware(_SignInMiddleware, door=self)

    @staticmethod
    def read_member(request: Request) -> str | None:
        """Gradio's question: who asks? The guard has settled it."""
        return request.scope.get(MEMBER_SCOPE_KEY) or None

    async def handle_request(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
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
            await self._refuse_visitor(Request(scope))(scope, receive, send)

    def _refuse_visitor(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD") and request.url.path == "/":
            return self.render_sign_in()
        return JSONResponse({"detail": "Not authenticated"}, 401, _SECURITY_HEADERS)

    def set_session_cookie(self, response: Response, text: str, *, secure: bool) -> None:
        """Gives the browser its session's cookie."""
        response.set_cookie(self.cookie, text, self._life_s, path="/", secure=secure, httponly=True, samesite="lax")

    async def _sign_out(self, request: Request) -> Response:
        session = self._sessions.end(request.cookies.get(self.cookie, ""))
        response = RedirectResponse(await self.find_sign_out_url(session.id_token) if session else "/", 303, _SECURITY_HEADERS)
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="lax")
        return response

    async def _handle_error(self, request: Request, error: Exception) -> Response:
        what = error.what if isinstance(error, AudioTuneError) else str(error)
        cure = error.cure if isinstance(error, AudioTuneError) else ""
        words = [f"{each[:1].upper()}{each[1:]}." for each in (what, cure) if each]
        return self.render_refusal(words)

    def render_refusal(self, words: list[str]) -> Response:
        """The page for somebody who is not let in."""
        return render_page("You cannot come in yet", words[0], *(tag("p", each, class_="soft") for each in words[1:]), status=403)


def render_page(title: str, words: str, *more: Markup, status: int = 200) -> Response:
    """A page of the door: a title, a sentence, and what follows."""
    body = tag("main", tag("h1", title), tag("p", words), *more)
    head = join_markup(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title), tag("style", Markup(_STYLE)),
    )  # fmt: skip
    return HTMLResponse(f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>", status, _SECURITY_HEADERS)


def redirect_to_start() -> RedirectResponse:
    """To the studio's first page after a sign-in, never to where somebody asked for."""
    return RedirectResponse("/", 303, _SECURITY_HEADERS)


class _SignInMiddleware:
    """The door as Starlette wants a middleware."""

    def __init__(self, app: ASGIApp, door: SignIn) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.handle_request(self._app, scope, receive, send)
