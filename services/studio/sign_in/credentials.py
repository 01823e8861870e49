"""Password checks that slow guessing, and the members' tokens for the generation service."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from audiotune.access.writer import AccessWriter, VerifiedSignIn
from audiotune.errors import AudioTuneError

LOG = logging.getLogger("audiotune.studio")
WRONG, WITHIN_S = 10, 600.0  # after this many wrong passwords for one name in this many seconds none is checked
_NAMES = 1000
LABEL = "studio"
_LIFE = timedelta(days=1)


class PasswordChecker:
    """Finds the account that a name and a password belong to, at each sign-in.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, access: AccessWriter, now: Callable[[], float] = time.monotonic) -> None:
        self._access, self._now = access, now
        self._wrong: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def __call__(self, name: str, password: str) -> VerifiedSignIn | None:
        name = name.strip()[:64]
        if not self._count_attempt(name):
            LOG.warning("sign-in of %r is refused for a while: %d wrong passwords in %d s", name, WRONG, WITHIN_S)
            return None
        try:
            found = self._access.verify_password(name, password)
        except AudioTuneError as e:  # the store is unreachable: nobody signs in, and the attempt does not count
            LOG.error("sign-in could not be checked: %s", e)
            with self._lock:
                if self._wrong.get(name):
                    self._wrong[name].pop()
            return None
        if found is not None:
            with self._lock:
                self._wrong.pop(name, None)
        return found

    def _count_attempt(self, name: str) -> bool:
        """Counts the attempt before it is checked, as many may come at once; a right password clears the count."""
        with self._lock:
            if len(self._wrong) >= _NAMES:  # invented names must not fill the memory
                self._wrong.clear()
            times, now = self._wrong[name], self._now()
            while times and now - times[0] > WITHIN_S:
                times.popleft()
            if len(times) >= WRONG:
                return False
            times.append(now)
            return True


class MemberTokens:
    """A token for each member, so that the generation service knows the member. Issued when needed, renewed, in memory only.

    Args:
        find_ticket: a ticket of a signed-in member; "" for none.
    """

    def __init__(self, access: AccessWriter, find_ticket: Callable[[str], str]) -> None:
        self._access, self._find_ticket = access, find_ticket
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def __call__(self, member: str) -> str:
        """The token's text; "" for no member."""
        if not member:
            return ""
        now = datetime.now(UTC)
        with self._lock:
            text, ends = self._tokens.get(member, ("", now))
            if ends - now < _LIFE / 24:
                ticket = self._find_ticket(member)
                text = self._access.issue_token(ticket, ("generate",), _LIFE / timedelta(days=1), label=LABEL)
                self._tokens[member] = (text, now + _LIFE)
            return text
