"""Tokens: how members' programs sign in. A token is `at_<id>_<secret>`; the store holds only the secret's SHA-256.

A fast hash is enough, because the secret is 256 random bits. Passwords, which people choose, are in accounts.py.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from pydantic import Field

from audiotune.access import list_records, read_record
from audiotune.access.membership import find_membership
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MemberId, require_member_id
from audiotune.errors import AccessError, ForbiddenError
from audiotune.store.layout import TOKENS
from audiotune.store.port import Store

Scope = Literal["generate", "read", "releases", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FRESH_S = 1.5  # how long a token read from the store is cached; a revocation takes effect after that
_TEXT = re.compile(r"at_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_CACHE_LIMIT = 2000


class Token(FrozenModel):
    """The store's record of a token, without the secret.

    Attributes:
        scopes: `generate` makes sounds and reads, `read` fetches the member's own sounds and lists releases, `releases` moves
            releases and reads, `admin` allows everything.
        expires, revoked: moments with time zone, or None.
    """

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    member: MemberId
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...]
    made: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    label: str = Field(default="", max_length=80, description="what it is for, in the member's words")

    @property
    def key(self) -> str:
        return _token_key(self.id)

    def is_valid(self, now: datetime | None = None) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or self.expires > (now or datetime.now(UTC)))

    def allows_scope(self, scope: Scope) -> bool:
        return "admin" in self.scopes or scope in self.scopes or (scope == "read" and bool(self.scopes))


def issue_token(
    store: Store, member: str, scopes: Iterable[str], days: float | None, now: datetime | None = None, *, label: str = ""
) -> str:
    """Makes a token and returns its text, which is kept nowhere. Whether its member is in the group is asked whenever it is used.

    Args:
        days: life time; None never ends.
        label: what it is for; cut after 80 letters.

    Raises AccessError: no member id, an unknown scope, no scope at all, a life time out of bounds.
    """
    now = now or datetime.now(UTC)
    wanted = tuple(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise AccessError(f"no scopes: {', '.join(unknown) or 'none given'}", cure=f"choose of {', '.join(SCOPES)}")
    require_member_id(member)
    if days is not None and not 0 < days <= 36_500:
        raise AccessError(f"{days:g} days is no life time", cure="give more than 0, at most 36500")
    id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    expires = None if days is None else now + timedelta(days=days)
    kept = tuple(cast(Scope, scope) for scope in wanted)
    token = Token(id=id, member=member, digest=_hash_secret(secret), scopes=kept, made=now, expires=expires, label=label[:80])
    store.put(token.key, token.model_dump_json(indent=1).encode(), only_new=True)
    return f"at_{id}_{secret}"


def check_token(store: Store, text: str, scope: Scope, now: datetime | None = None) -> Token:
    """The record of a token's text. It is cached for FRESH_S, so that a busy service does not read the store at every request.

    Raises:
        AccessError: no token, an unknown, expired or revoked one, or one of a member who has left; the message does not say which.
        ForbiddenError: a valid token without this scope, or one for making sounds of somebody whom the agreement does not name.
        UnreadableAgreementError: nobody knows who is in the group.
        StoreError: the store does not answer and the cache has no fresh record.
    """
    now = now or datetime.now(UTC)
    parts = _TEXT.fullmatch(text)
    token = _read_cached_token(store, parts.group(1), now) if parts else None
    right = hmac.compare_digest(_hash_secret(parts.group(2) if parts else ""), token.digest if token else "0" * 64)
    known = token is not None and right and token.is_valid(now)
    membership = find_membership(store, token.member, now) if token and known else "stranger"
    if token is None or not known or membership == "left":
        raise AccessError("this token is not valid", cure="ask an owner of the group for a new one")
    if not token.allows_scope(scope):
        raise ForbiddenError(f"this token may not {scope}", cure=f"ask an owner for one with the scope {scope}")
    if scope == "generate" and membership == "stranger":
        raise ForbiddenError(f"the agreement does not name {token.member}", cure="an owner adds them to the agreement first")
    return token


def revoke_token(store: Store, id: str, now: datetime | None = None) -> Token:
    """Revokes a token; services notice within FRESH_S. Raises AccessError when no token has this id."""
    token = read_record(store, _token_key(id), Token) if re.fullmatch(r"[0-9a-f]{16}", id) else None
    if token is None:
        raise AccessError(f"no token {id[:40]!r}", cure="`python -m audiotune.access token list` shows their ids")
    revoked = token.model_copy(update={"revoked": token.revoked or now or datetime.now(UTC)})
    store.put(revoked.key, revoked.model_dump_json(indent=1).encode())
    return revoked


def revoke_member_tokens(store: Store, member: str, now: datetime | None = None) -> list[Token]:
    """Revokes every valid token of a member; returns those."""
    valid = [token for token in list_tokens(store) if token.member == member and token.is_valid(now)]
    return [revoke_token(store, token.id, now) for token in valid]


def list_tokens(store: Store) -> list[Token]:
    """All tokens, oldest first, also expired and revoked ones."""
    return sorted(list_records(store, TOKENS, Token), key=lambda token: token.made)


_lock = threading.Lock()
_token_cache: dict[tuple[str, str], tuple[Token | None, datetime]] = {}


def _read_cached_token(store: Store, id: str, now: datetime) -> Token | None:
    with _lock:
        token, read_at = _token_cache.get((store.url, id), (None, None))
    if read_at is not None and 0 <= (now - read_at).total_seconds() < FRESH_S:
        return token
    token = read_record(store, _token_key(id), Token)
    with _lock:
        if len(_token_cache) >= _CACHE_LIMIT:  # requests with invented ids must not fill the memory
            _token_cache.clear()
        _token_cache[store.url, id] = (token, now)
    return token


def _token_key(id: str) -> str:
    return TOKENS.key(f"{id}.json")


def _hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
