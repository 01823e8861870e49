"""The door for those who sign in with a password: a form, answered at /login; /logout ends the session.

A program may send the same form; it gets JSON, 200 or 400, and the session's cookie.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audiotune.reporting.html import Markup, tag
from services.studio.context import StudioContext
from services.studio.sign_in.credentials import PasswordChecker
from services.studio.sign_in.middleware import SignIn, redirect_to_start, render_page

_LONGEST_FORM = 16_384  # bytes; a name and a password, however they are written
_SIGN_IN_WORDS = "Sign in with your member's id and password. An owner of the group makes accounts."
_WRONG = "That did not work. Look at name and password; after many wrong ones, wait ten minutes."


class PasswordSignIn(SignIn):
    """Asks the doorkeeper; a session stands on the password it began with."""

    own_paths = ("/login",)

    def __init__(self, desk: StudioContext, keeper: PasswordChecker | None = None) -> None:
        self._keeper = keeper or PasswordChecker(desk.store)
        super().__init__(desk, [Route("/login", self._handle_login, methods=["GET", "POST"])])

    def render_sign_in(self) -> Response:
        return render_page("Audio Tune", _SIGN_IN_WORDS, _render_form())

    async def _handle_login(self, request: Request) -> Response:
        if request.method != "POST":
            return redirect_to_start()
        reads = "text/html" in request.headers.get("accept", "")
        told = await _read_form(request)
        account = await run_in_threadpool(self._keeper, told.get("username", ""), told.get("password", ""))
        if account is None:
            return (
                render_page("Audio Tune", _WRONG, _render_form(), status=400) if reads else JSONResponse({"detail": _WRONG}, 400)
            )
        response = redirect_to_start() if reads else JSONResponse({"success": True})
        self.set_session_cookie(
            response, self._sessions.begin(account.member, account.password), secure=self.secure or _is_https(request)
        )
        return response


async def _read_form(request: Request) -> dict[str, str]:
    """The form's fields; none of one that is too long or has too many."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return {}
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=8).items()}
    except ValueError:
        return {}


def _is_https(request: Request) -> bool:
    """As the browser came, in front of whatever ends TLS. It decides about the asker's own cookie only."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip())


def _render_form() -> Markup:
    rows = [
        tag("label", "Member", tag("input", name_="username", autocomplete="username", autocapitalize="none", required=True)),
        tag("label", "Password", tag("input", name_="password", type="password", autocomplete="current-password", required=True)),
    ]
    return tag("form", *rows, tag("button", "Sign in", type="submit"), method="post", action="/login")
