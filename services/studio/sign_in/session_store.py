"""Sessions of signed-in browsers, in memory. They end by time, by sign-out, and when their proof is no longer valid.

The proof is a password or an identity at the provider: a new password, a removed account or a removed identity ends the session. So does
leaving the group. Who has left may sign in again, to look and to take their data away.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from audiotune.access import accounts, identities
from audiotune.access.membership import find_membership
from audiotune.errors import AudioTuneError
from audiotune.store.port import Store

MEMBER_SCOPE_KEY = "audiotune.member"  # key in a request's scope: the signed-in member
COOKIE = "audio-tune-session"
COOKIE_OF_HOST = "__Host-audio-tune"  # over https: browsers bind it to this host's name
COOKIE_OF_PATH = "__Secure-audio-tune"  # over https below a path: other servers of the same name are not sent it
RECHECK_S = 2.0
_MOST = 10_000
_MOST_OF_ONE = 50  # of one member: who signs in again and again ends their own oldest session, nobody else's


@dataclass(frozen=True)
class BrowserSession:
    """The session of one browser. `until` and `checked` are seconds of the store's clock.

    Attributes:
        proof: the identity, or the password's hash as the account keeps it.
        id_token: the provider's, for the sign-out there.
        ticket: what the member's own writes are asked for with.
        is_member: whether the person was in the group when that was last looked up; None before that.
    """

    member: str
    proof: str = field(repr=False)
    id_token: str = field(repr=False)
    until: float
    checked: float
    ticket: str = field(default="", repr=False)
    is_member: bool | None = None


SessionCheck = Callable[[BrowserSession], bool]


def check_password(store: Store, session: BrowserSession) -> bool:
    """Whether the member's password is the one that the session began with; each hash has a salt of its own."""
    account = accounts.read_account(store, session.member)
    return account is not None and account.password == session.proof


def check_identity(store: Store, session: BrowserSession) -> bool:
    """Whether the identity is still linked to this member."""
    link = identities.find_identity(store, session.proof)
    return link is not None and link.member == session.member


def check_membership(store: Store, member: str) -> bool:
    """Whether the agreement names this person, and they have not left."""
    return find_membership(store, member) == "member"


class SessionStore:
    """All sessions. A studio that restarts asks everybody to sign in again.

    Args:
        life_s: seconds a session lives.
        is_valid: checks a session's proof again after RECHECK_S; None where nothing can be looked up, as with an identity that
            is the member's id itself.
        now: seconds of a clock that never goes back.
        is_member: whether a person is in the group, looked up with the proof.
    """

    def __init__(
        self,
        life_s: float,
        is_valid: SessionCheck | None,
        now: Callable[[], float] = time.monotonic,
        is_member: Callable[[str], bool] | None = None,
    ) -> None:
        self._life_s, self._is_valid, self._now, self._is_member = life_s, is_valid, now, is_member
        self._sessions: dict[str, BrowserSession] = {}
        self._lock = threading.Lock()

    def begin(self, member: str, proof: str, id_token: str = "", ticket: str = "") -> str:
        """Begins a session; returns the text for the cookie."""
        text, now = secrets.token_urlsafe(32), self._now()
        with self._lock:
            if len(self._sessions) >= _MOST:
                self._sessions = {key: s for key, s in self._sessions.items() if s.until > now}
            own = [key for key, s in self._sessions.items() if s.member == member]
            for oldest in own[: max(0, len(own) - _MOST_OF_ONE + 1)]:
                del self._sessions[oldest]
            while len(self._sessions) >= _MOST:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[text] = BrowserSession(member, proof, id_token, now + self._life_s, now, ticket)
        return text

    def find_member(self, text: str) -> str:
        """The member whose session has this cookie; "" for none."""
        now = self._now()
        with self._lock:
            session = self._sessions.get(text)
        if session is None:
            return ""
        if session.until <= now:
            self.end(text)
            return ""
        return session.member if now - session.checked <= RECHECK_S or self._recheck_session(text, session, now) else ""

    def find_ticket(self, text: str) -> str:
        """The ticket of the session that has this cookie; "" for none."""
        with self._lock:
            session = self._sessions.get(text)
        return session.ticket if session else ""

    def find_ticket_of(self, member: str) -> str:
        """The ticket of the member's newest session; "" for none."""
        with self._lock:
            return next((s.ticket for s in reversed(self._sessions.values()) if s.member == member), "")

    def renew(self, text: str, proof: str, ticket: str = "") -> None:
        """Gives a session a new proof and ticket: its member has just changed the password in it."""
        with self._lock:
            if text in self._sessions:
                self._sessions[text] = replace(self._sessions[text], proof=proof, ticket=ticket)

    def end(self, text: str) -> BrowserSession | None:
        with self._lock:
            return self._sessions.pop(text, None)

    def _recheck_session(self, text: str, session: BrowserSession, now: float) -> bool:
        """Whether proof and membership are still valid; ends the session otherwise. An unreachable store ends no session."""
        valid, is_member = True, session.is_member
        with contextlib.suppress(AudioTuneError):
            valid = self._is_valid is None or self._is_valid(session)
        with contextlib.suppress(AudioTuneError):
            is_member = self._is_member(session.member) if self._is_member else None
        valid = valid and not (session.is_member and is_member is False)
        with self._lock:
            current = self._sessions.get(text)
            if current is None or current.proof != session.proof:  # ended or renewed meanwhile
                return current is not None
            if valid:
                self._sessions[text] = replace(current, checked=now, is_member=is_member)
            else:
                del self._sessions[text]
        return valid
