"""Password checks that slow guessing, accounts that owners create, and the members' tokens for the generation service."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from audiotune.access import accounts, identities, tokens
from audiotune.errors import AccessError, AudioTuneError
from audiotune.governance import Agreement
from audiotune.store import Store

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

    def __init__(self, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self._store, self._now = store, now
        self._wrong: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def __call__(self, name: str, password: str) -> accounts.Account | None:
        name = name.strip()[:64]
        if not self._count_attempt(name):
            LOG.warning("sign-in of %r is refused for a while: %d wrong passwords in %d s", name, WRONG, WITHIN_S)
            return None
        try:
            account = accounts.verify_password(self._store, name, password)
        except AudioTuneError as e:  # the store is unreachable: nobody signs in, and the attempt does not count
            LOG.error("sign-in could not be checked: %s", e)
            with self._lock:
                if self._wrong.get(name):
                    self._wrong[name].pop()
            return None
        if account is not None:
            with self._lock:
                self._wrong.pop(name, None)
        return account

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


def issue_password(store: Store, agreement: Agreement, owner: str, member: str) -> str:
    """Creates an account with a generated password, or gives an account a new one; returns the password. Raises AccessError."""
    _require_owner(store, owner, "make accounts")
    _require_in_agreement(agreement, member)
    password = accounts.generate_password()
    if accounts.read_account(store, member) is None:
        accounts.create_account(store, member, password)
    else:
        accounts.change_password(store, member, password)
    return password


def add_member_identity(store: Store, agreement: Agreement, owner: str, member: str, identity: str) -> None:
    """Links an identity at the provider to a member. Raises AccessError as `issue_password` does, and for an invalid identity."""
    _require_owner(store, owner, "say who is who")
    _require_in_agreement(agreement, member)
    identities.add_identity(store, member, identity)


def remove_member_identity(store: Store, owner: str, identity: str) -> None:
    """Removes the link. Raises AccessError: no owner, the owner's only identity, or no such identity."""
    _require_owner(store, owner, "say who is who")
    own = [one.identity for one in identities.list_identities(store) if one.member == owner]
    if own == [identity.strip()]:
        raise AccessError("this is your own only way in", cure="let another owner forget it")
    identities.remove_identity(store, identity)


def is_owner(store: Store, member: str) -> bool:
    account = accounts.read_account(store, member) if member else None
    return account is not None and account.role == "owner"


def _require_owner(store: Store, owner: str, action: str) -> None:
    if not is_owner(store, owner):
        raise AccessError(f"only owners {action}", cure="ask an owner of the group")


def _require_in_agreement(agreement: Agreement, member: str) -> None:
    if agreement.find_member(member) is None:
        raise AccessError("choose a member of the agreement", cure="new members are added to the agreement first")


class MemberTokens:
    """A token for each member, so that the generation service knows the member. Issued when needed, renewed, in memory only."""

    def __init__(self, store: Store) -> None:
        self._store = store
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
                text = tokens.issue_token(self._store, member, ("generate",), _LIFE / timedelta(days=1), now, label=LABEL)
                self._tokens[member] = (text, now + _LIFE)
            return text
