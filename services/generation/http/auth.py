"""Authentication: every /v1 path but health checks the member's token, where access is not open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from audiotune.access import tokens
from audiotune.access.tokens import Scope
from audiotune.errors import AccessError, AudioTuneError, ForbiddenError
from audiotune.store.port import Store
from services.generation.engine.work import ANYONE
from services.generation.http.problems import ProblemError


class Authenticator:
    """Checks tokens; where access is open, every request counts as one of `ANYONE`."""

    def __init__(self, store: Store, *, members: bool) -> None:
        self._store, self.members = store, members

    def require_scope(self, scope: Scope) -> Callable[[Request], Awaitable[str]]:
        """A dependency of a route, which gives the member who sends the request. Raises ProblemError 401 or 403."""

        async def member(request: Request) -> str:
            if not self.members:
                request.state.member = ANYONE
                return ANYONE
            text = _read_bearer_token(request)
            try:
                token = await run_in_threadpool(tokens.check_token, self._store, text, scope)
            except ForbiddenError as e:
                raise ProblemError(403, str(e), code="scope-missing", headers=_challenge_headers("insufficient_scope")) from None
            except AccessError as e:
                raise ProblemError(401, str(e), code="token-invalid", headers=_challenge_headers("invalid_token")) from None
            request.state.member = token.member
            return token.member

        return member

    async def has_scope(self, request: Request, scope: Scope) -> bool:
        """Whether the sender may do this; for routes that answer everybody, and say more to some."""
        try:
            await self.require_scope(scope)(request)
        except (ProblemError, AudioTuneError):
            return False
        return True


def _read_bearer_token(request: Request) -> str:
    given = request.headers.getlist("authorization")
    kind, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not text:
        cure = "send `Authorization: Bearer at_...`; an owner issues tokens"
        raise ProblemError(401, f"no token was sent. {cure}", code="token-missing", headers=_challenge_headers())
    return text.strip()


def _challenge_headers(error: str = "") -> dict[str, str]:
    """RFC 6750, section 3."""
    return {"WWW-Authenticate": 'Bearer realm="audio-tune"' + (f', error="{error}"' if error else "")}
