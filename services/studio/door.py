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
from services.studio.desk import Desk
from services.studio.markup import Markup, joined, tag
from services.studio.sessions import COOKIE, COOKIE_OF_HOST, WHO

_FREE = ("/gradio_api/startup-events",)  # Gradio calls it itself when it is launched; it tells nothing
_GUARD = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_STYLE = (Path(__file__).parent / "static" / "door.css").read_text(encoding="utf-8")


class Door(ABC):
    """Builds what `launch()` is given. Everything else is refused before Gradio sees it.

    Args:
        routes: addresses the door answers itself, besides `/logout`.
    """

    own: tuple[str, ...] = ()  # beginnings of the paths in `routes`

    def __init__(self, desk: Desk, routes: Sequence[Route], middleware: Sequence[Middleware] = ()) -> None:
        self._desk, self._sessions, self._life_s = desk, desk.sessions, round(desk.settings.session_s)
        self.secure = desk.settings.public_url.startswith("https://")
        self.cookie = COOKIE_OF_HOST if self.secure else COOKIE
        answers = {AccessError: self._refused}
        self._own = Starlette(
            routes=[*routes, Route("/logout", self._out)], middleware=list(middleware), exception_handlers=answers
        )

    @abstractmethod
    def welcome(self) -> Response:
        """The page for somebody who has not signed in."""

    async def there(self, proof: str) -> str:
        """Where a browser goes after sign-out; `proof` is the session's."""
        return "/"

    def middleware(self) -> Middleware:
        """For the server's app."""
        return Middleware(_Guard, door=self)

    @staticmethod
    def who(request: Request) -> str | None:
        """Gradio's question: who asks? The guard has settled it."""
        return request.scope.get(WHO) or None

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/logout" or path.startswith(self.own):
            await self._own(scope, receive, send)
            return
        cookies = Request({**scope, "type": "http"}).cookies
        member = await run_in_threadpool(self._sessions.member, cookies.get(self.cookie, ""))
        if member or path in _FREE:
            await app({**scope, WHO: member}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        else:
            await self._stranger(Request(scope))(scope, receive, send)

    def _stranger(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD") and request.url.path == "/":
            return self.welcome()
        return JSONResponse({"detail": "Not authenticated"}, 401, _GUARD)

    def let_in(self, response: Response, text: str, *, secure: bool) -> None:
        """Gives the browser its session's cookie."""
        response.set_cookie(self.cookie, text, self._life_s, path="/", secure=secure, httponly=True, samesite="lax")

    async def _out(self, request: Request) -> Response:
        session = self._sessions.end(request.cookies.get(self.cookie, ""))
        response = RedirectResponse(await self.there(session.id_token) if session else "/", 303, _GUARD)
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="lax")
        return response

    async def _refused(self, request: Request, error: Exception) -> Response:
        what = error.what if isinstance(error, AudioTuneError) else str(error)
        cure = error.cure if isinstance(error, AudioTuneError) else ""
        words = [f"{each[:1].upper()}{each[1:]}." for each in (what, cure) if each]
        return self.refusal(words)

    def refusal(self, words: list[str]) -> Response:
        """The page for somebody who is not let in."""
        return page("You cannot come in yet", words[0], *(tag("p", each, class_="soft") for each in words[1:]), status=403)


def page(title: str, words: str, *more: Markup, status: int = 200) -> Response:
    """A page of the door: a title, a sentence, and what follows."""
    body = tag("main", tag("h1", title), tag("p", words), *more)
    head = joined(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title), tag("style", Markup(_STYLE)),
    )  # fmt: skip
    return HTMLResponse(f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>", status, _GUARD)


def onward() -> RedirectResponse:
    """To the studio's first page after a sign-in, never to where somebody asked for."""
    return RedirectResponse("/", 303, _GUARD)


class _Guard:
    """The door as Starlette wants a middleware."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.answer(self._app, scope, receive, send)
