"""Password checks that slow guessing, and the members' tokens for the generation service."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from audiotune.access.writer import AccessWriter, VerifiedSignIn
from audiotune.errors import AccessError, AudioTuneError
from services.studio.sign_in.attempts import LONGEST_WAIT_S, AttemptPace, SignInAttempt
from services.studio.sign_in.hashing_threads import HashingThreads, SignInBusyError

LOG = logging.getLogger("audiotune.studio")
LABEL = "studio"
_LONGEST_NAME = 64
_LIFE = timedelta(days=1)
_WAITING = 16  # sign-ins of strangers that wait to be checked: about four seconds of work
_WAITING_KNOWN = 64  # as many from browsers that signed in before; strangers cannot take these places


class SignInUnavailableError(AccessError):
    """What checks passwords does not answer."""


class PasswordChecker:
    """Finds the account that a name and a password belong to. Many wrong passwords make it slower; nobody is locked out.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, access: AccessWriter, now: Callable[[], float] = time.monotonic) -> None:
        self._access, self._pace = access, AttemptPace(now)
        self._strangers, self._known = HashingThreads(1, _WAITING), HashingThreads(1, _WAITING_KNOWN)

    async def check(self, name: str, password: str, address: str = "", device: str = "") -> VerifiedSignIn | None:
        """Checks a sign-in, after the wait that earlier wrong ones ask for; None for a wrong name or password.

        Args:
            device: identifies a browser that signed in to this account before; "" for any other.

        Raises SignInBusyError, SignInUnavailableError: it was not checked and may be repeated later.
        """
        attempt = SignInAttempt(name.strip()[:_LONGEST_NAME], address, device)
        wait_s = self._pace.reserve(attempt)
        if wait_s > LONGEST_WAIT_S:
            LOG.warning("sign-in of %r from %s is refused for %.0f s: too many wrong ones", attempt.name, address, wait_s)
            raise SignInBusyError(wait_s)
        await asyncio.sleep(wait_s)
        try:
            checked = (self._known if device else self._strangers).submit(self._verify, attempt, password)
        except SignInBusyError:
            self._pace.take_back(attempt)
            raise
        return await asyncio.wrap_future(checked)

    def change_password(self, member: str, ticket: str, old: str, new: str, *, keep_tokens: bool, session: str) -> VerifiedSignIn:
        """The member's own password, with guesses at the old one slowed for each session. Raises AccessError."""
        if not self._count_attempt(member, device=session):
            raise AccessError("too many wrong passwords came from this browser", cure="wait half a minute, then try again")
        changed = self._known.submit(self._access.change_password, ticket, old, new, keep_tokens=keep_tokens).result()
        self._pace.forgive(SignInAttempt(member, device=session))
        return changed

    def _count_attempt(self, name: str, address: str = "", device: str = "") -> bool:
        """Whether an attempt may be checked at once; counts it before, as many may come together."""
        return self._pace.reserve(SignInAttempt(name, address, device), longest_wait_s=0) <= 0

    def _verify(self, attempt: SignInAttempt, password: str) -> VerifiedSignIn | None:
        try:
            found = self._access.verify_password(attempt.name, password)
        except AudioTuneError as e:  # store or governance service are away: nobody signs in, and the attempt does not count
            LOG.error("sign-in could not be checked: %s", e)
            self._pace.take_back(attempt)
            raise SignInUnavailableError("passwords cannot be checked now", cure="try again in a minute, or tell an owner") from e
        if found is not None:
            self._pace.forgive(attempt)
        return found


class MemberTokens:
    """A token for each member, so that the generation service knows the member. Issued when needed, renewed, in memory only.

    Args:
        find_ticket: a ticket of a signed-in member; "" for none.
        is_valid: whether a token still counts; its member or an owner may have ended it.
    """

    def __init__(
        self, access: AccessWriter, find_ticket: Callable[[str], str], is_valid: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._access, self._find_ticket, self._is_valid = access, find_ticket, is_valid
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def __call__(self, member: str) -> str:
        """The token's text; "" for no member."""
        if not member:
            return ""
        now = datetime.now(UTC)
        with self._lock:
            text, ends = self._tokens.get(member, ("", now))
            if ends - now < _LIFE / 24 or not self._is_valid(text):
                ticket = self._find_ticket(member)
                text = self._access.issue_token(ticket, ("generate",), _LIFE / timedelta(days=1), label=LABEL)
                self._tokens[member] = (text, now + _LIFE)
            return text

    def find_id(self, member: str) -> str:
        """The id of the token that is used for the member now; "" for none."""
        with self._lock:
            text, _ = self._tokens.get(member, ("", None))
        return text.split("_")[1] if text else ""
