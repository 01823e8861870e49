"""Who has come in through the door: sessions in memory, ended by time, by sign-out, and when an owner removes the identity."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from audiotune.access import identities
from audiotune.errors import AudioTuneError
from audiotune.store.port import Store

WHO = "audiotune.member"  # key in a request's scope: who came through the door
_LOOK_S = 60.0
_MOST = 10_000


@dataclass(frozen=True)
class Session:
    """One browser. `until` and `looked` are seconds of the sessions' clock."""

    member: str
    identity: str
    id_token: str
    until: float
    looked: float


class Sessions:
    """Keeps them. A studio that starts anew asks everybody to sign in again.

    Args:
        life_s: seconds a session lives.
        look: whether an identity is looked up again each minute; not where it is the member's id itself.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, store: Store, life_s: float, *, look: bool = True, now: Callable[[], float] = time.monotonic) -> None:
        self._store, self._life_s, self._look, self._now = store, life_s, look, now
        self._kept: dict[str, Session] = {}
        self._lock = threading.Lock()

    def begin(self, member: str, identity: str, id_token: str) -> str:
        """The text for the cookie."""
        text, now = secrets.token_urlsafe(32), self._now()
        with self._lock:
            if len(self._kept) >= _MOST:
                self._kept = {key: s for key, s in self._kept.items() if s.until > now}
            while len(self._kept) >= _MOST:
                self._kept.pop(next(iter(self._kept)))
            self._kept[text] = Session(member, identity, id_token, now + self._life_s, now)
        return text

    def member(self, text: str) -> str:
        """Who carries this; "" for nobody."""
        now = self._now()
        with self._lock:
            session = self._kept.get(text)
        if session is None:
            return ""
        if session.until <= now or (self._look and now - session.looked > _LOOK_S and not self._holds(session)):
            self.end(text)
            return ""
        if now - session.looked > _LOOK_S:
            with self._lock:
                if text in self._kept:
                    self._kept[text] = replace(session, looked=now)
        return session.member

    def end(self, text: str) -> Session | None:
        with self._lock:
            return self._kept.pop(text, None)

    def _holds(self, session: Session) -> bool:
        """Whether the identity is still this member's; a store that is away takes nobody's session."""
        try:
            found = identities.find(self._store, session.identity)
        except AudioTuneError:
            return True
        return found is not None and found.member == session.member
