"""Sign-in with a password: a form, answered at /login; /logout ends the session.

A program may send the same form; it gets JSON, 200 or 400, and the session's cookie.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audiotune.access import accounts
from audiotune.errors import AudioTuneError
from audiotune.reporting.html import Markup, tag
from services.studio.context import StudioContext
from services.studio.markup import format_sentence
from services.studio.sign_in.credentials import PasswordChecker, SignInUnavailableError
from services.studio.sign_in.hashing_threads import SignInBusyError
from services.studio.sign_in.known_devices import DEVICE_COOKIE, DEVICE_COOKIE_S, make_device_cookie, read_device_cookie
from services.studio.sign_in.middleware import SignIn, render_page

_LONGEST_FORM = 16_384  # bytes; enough for a name and a password in any encoding
_SIGN_IN_WORDS = "Sign in with your member's id and password. An owner of the group makes accounts."
_WRONG = "That did not work. Look at name and password; each further wrong one takes longer to check."


class PasswordSignIn(SignIn):
    """Checks a name and a password; a session is valid as long as the password that it began with."""

    own_paths = ("/login",)

    def __init__(self, context: StudioContext, checker: PasswordChecker | None = None) -> None:
        self._checker = checker or context.passwords
        super().__init__(context, [Route("/login", self._handle_login, methods=["GET", "POST"])])

    def render_sign_in(self) -> Response:
        return self._render_form_page(_SIGN_IN_WORDS)

    async def _handle_login(self, request: Request) -> Response:
        if request.method != "POST":
            return self.redirect_to_start()
        wants_page = "text/html" in request.headers.get("accept", "")
        form = await _read_form(request)
        name, address = form.get("username", "").strip(), request.client.host if request.client else ""
        cookie = request.cookies.get(DEVICE_COOKIE, "")
        device = await run_in_threadpool(self._read_device, name, cookie) if cookie else ""
        try:
            found = await self._checker.check(name, form.get("password", ""), address, device)
        except SignInBusyError as e:
            response = self._refuse(format_sentence(e), wants_page=wants_page, status=429)
            response.headers["Retry-After"] = str(e.retry_after_s)
            return response
        except SignInUnavailableError as e:
            return self._refuse(format_sentence(e), wants_page=wants_page, status=503)
        if found is None:
            return self._refuse(_WRONG, wants_page=wants_page, status=400)
        response = self.redirect_to_start() if wants_page else JSONResponse({"success": True})
        session = self._sessions.begin(found.account.member, found.account.password, ticket=found.ticket)
        secure = self.secure or _is_https(request)
        self.set_session_cookie(response, session, secure=secure)
        response.set_cookie(
            DEVICE_COOKIE,
            make_device_cookie(found.account),
            DEVICE_COOKIE_S,
            path=f"{self.base_path}/login",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return response

    def _refuse(self, words: str, *, wants_page: bool, status: int) -> Response:
        return self._render_form_page(words, status) if wants_page else JSONResponse({"detail": words}, status)

    def _render_form_page(self, words: str, status: int = 200) -> Response:
        return render_page("Audio Tune", words, _render_form(f"{self.base_path}/login"), status=status)

    def _read_device(self, name: str, cookie: str) -> str:
        """The device, when this browser signed in to the account before; "" otherwise."""
        try:
            return read_device_cookie(accounts.read_account(self._context.store, name), cookie)
        except AudioTuneError:
            return ""


async def _read_form(request: Request) -> dict[str, str]:
    """The form's fields; none when the form is too long or has too many."""
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
    """Whether the browser uses https, also in front of a proxy that ends TLS. It decides about the sender's own cookie only."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip())


def _render_form(action: str) -> Markup:
    rows = [
        tag("label", "Member", tag("input", name_="username", autocomplete="username", autocapitalize="none", required=True)),
        tag("label", "Password", tag("input", name_="password", type="password", autocomplete="current-password", required=True)),
    ]
    return tag("form", *rows, tag("button", "Sign in", type="submit"), method="post", action=action)
