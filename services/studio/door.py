"""The door: in front of every page, in the same server. Lets nobody through who has not signed in at the provider.

Gradio is told who came by `auth_dependency`; its own app stays a launched one, which checks whose file is asked for.

    /oidc/begin   to the provider         /oidc/back   from there: a session begins         /logout   both sessions end
"""

from __future__ import annotations

import secrets
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audiotune.access import identities
from audiotune.errors import AccessError, AudioTuneError
from services.studio.desk import Desk
from services.studio.markup import Markup, joined, tag
from services.studio.oidc import Provider
from services.studio.sessions import WHO, Sessions

_FREE = ("/gradio_api/startup-events",)  # Gradio calls it itself when it is launched; it tells nothing
_BEGIN_S = 600
_GUARD = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_STYLE = (Path(__file__).parent / "static" / "door.css").read_text(encoding="utf-8")


class Door:
    """Builds what `launch()` is given. Everything else is refused before Gradio sees it."""

    def __init__(self, desk: Desk, provider: Provider, sessions: Sessions) -> None:
        self._desk, self._provider, self._sessions = desk, provider, sessions
        settings = desk.settings
        self._secure = settings.public_url.startswith("https://")
        self.cookie = "__Host-audio-tune" if self._secure else "audio-tune-session"
        self._life_s = round(settings.oidc_session_h * 3600)
        # State, nonce and verifier travel in a signed cookie: nothing is kept for those who only knock.
        memory = Middleware(
            SessionMiddleware, secret_key=secrets.token_urlsafe(32), session_cookie="audio-tune-sign-in", path="/oidc",
            max_age=_BEGIN_S, same_site="lax", https_only=self._secure,
        )  # fmt: skip
        routes = [Route("/oidc/begin", self._begin), Route("/oidc/back", self._back), Route("/logout", self._out)]
        self._own = Starlette(routes=routes, middleware=[memory], exception_handlers={AccessError: self._refused})

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
        if path == "/logout" or path.startswith("/oidc/"):
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
            return self._page("Audio Tune", f"Sign in with {self._desk.settings.oidc_name} to come in.", "Sign in", "/oidc/begin")
        return JSONResponse({"detail": "Not authenticated"}, 401, _GUARD)

    async def _begin(self, request: Request) -> Response:
        request.session.clear()
        return await self._provider.away(request, other="other" in request.query_params)

    async def _back(self, request: Request) -> Response:
        try:
            claims, id_token = await self._provider.back(request)
        finally:
            request.session.clear()
        identity = self._provider.identity(claims)
        member = await run_in_threadpool(self._member, identity)
        text = self._sessions.begin(member, identity, id_token)
        response = RedirectResponse("/", 303, _GUARD)  # never to where somebody asked for
        response.set_cookie(self.cookie, text, self._life_s, path="/", secure=self._secure, httponly=True, samesite="lax")
        return response

    def _member(self, identity: str) -> str:
        """Who this is here. Raises AccessError with the cure when nobody is."""
        settings = self._desk.settings
        found = identity if settings.oidc_claim_is_member else getattr(identities.find(self._desk.store, identity), "member", "")
        if found and self._desk.present(found, ""):
            return found
        if found:
            raise AccessError(f"{found} is no member in the agreement", cure="an owner adds you to the agreement first")
        raise AccessError(
            f"nobody of the group is known as {identity}",
            cure="an owner enters it on the Account page, or with: python -m audiotune.access identity add MEMBER IDENTITY",
        )

    async def _out(self, request: Request) -> Response:
        session = self._sessions.end(request.cookies.get(self.cookie, ""))
        there = await self._provider.out(session.id_token) if session else ""
        response = RedirectResponse(there or "/", 303, _GUARD)
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return response

    async def _refused(self, request: Request, error: Exception) -> Response:
        what = error.what if isinstance(error, AudioTuneError) else str(error)
        cure = error.cure if isinstance(error, AudioTuneError) else ""
        words = [f"{each[:1].upper()}{each[1:]}." for each in (what, cure) if each]
        return self._page("You cannot come in yet", words[0], "Try again", "/oidc/begin?other=1", *words[1:], status=403)

    @staticmethod
    def _page(title: str, words: str, action: str, where: str, *more: str, status: int = 200) -> Response:
        body = tag(
            "main",
            tag("h1", title),
            tag("p", words),
            *(tag("p", each, class_="soft") for each in more),
            tag("a", action, href=where),
        )
        head = joined(
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title), tag("style", Markup(_STYLE)),
        )  # fmt: skip
        return HTMLResponse(f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>", status, _GUARD)


class _Guard:
    """The door as Starlette wants a middleware."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.answer(self._app, scope, receive, send)


def door_for(desk: Desk) -> Door | None:
    """The door, where the settings name a provider."""
    settings = desk.settings
    if not settings.oidc_issuer:
        return None
    sessions = Sessions(desk.store, settings.oidc_session_h * 3600, look=not settings.oidc_claim_is_member)
    return Door(desk, Provider(settings), sessions)
