"""Tokens: what a member's program carries. `at_<id>_<secret>`; the store holds only the secret's SHA-256.

A fast hash is enough: the secret is 256 random bits, which nobody guesses. Passwords, which people choose, are in accounts.py.
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

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiotune.domain.member import MemberId, require_member_id
from audiotune.errors import AccessError, ForbiddenError, NotInStoreError
from audiotune.store.layout import TOKENS
from audiotune.store.port import Store

Scope = Literal["generate", "read", "releases", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FRESH_S = 1.5  # how long an answer of the store is believed; a revocation counts after that
_TEXT = re.compile(r"at_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_CACHE_LIMIT = 2000


class Token(BaseModel):
    """What the store knows of a token; not the secret.

    Attributes:
        scopes: `generate` makes sounds and reads, `read` hears the member's own sounds and lists releases, `releases` moves
            releases and reads, `admin` is all.
        expires, revoked: moments with time zone, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        return TOKENS.key(f"{self.id}.json")

    def is_valid(self, now: datetime | None = None) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or self.expires > (now or datetime.now(UTC)))

    def allows_scope(self, scope: Scope) -> bool:
        return "admin" in self.scopes or scope in self.scopes or (scope == "read" and bool(self.scopes))


def issue_token(
    store: Store, member: str, scopes: Iterable[str], days: float | None, now: datetime | None = None, *, label: str = ""
) -> str:
    """Makes a token and returns its text, which is shown once and kept nowhere.

    Args:
        days: life time; None never ends.
        label: what it is for; cut at 80 letters.

    Raises:
        AccessError: no member's name, an unknown scope, no scope at all.
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
    """The token behind a text. What the store says is believed for FRESH_S, so that busy services do not ask at every request.

    Raises:
        AccessError: no token, a foreign, expired or revoked one; the words do not tell which.
        ForbiddenError: a good token without this scope.
        StoreError: the store is away and nothing fresh is known.
    """
    now = now or datetime.now(UTC)
    parts = _TEXT.fullmatch(text)
    token = _read_cached_token(store, parts.group(1), now) if parts else None
    right = hmac.compare_digest(_hash_secret(parts.group(2) if parts else ""), token.digest if token else "0" * 64)
    if token is None or not right or not token.is_valid(now):
        raise AccessError("this token is not valid", cure="ask an owner of the group for a new one")
    if not token.allows_scope(scope):
        raise ForbiddenError(f"this token may not {scope}", cure=f"ask an owner for one with the scope {scope}")
    return token


def revoke_token(store: Store, id: str, now: datetime | None = None) -> Token:
    """Ends a token; services notice within FRESH_S. Raises AccessError when there is none of this id."""
    token = _read_token(store, id) if re.fullmatch(r"[0-9a-f]{16}", id) else None
    if token is None:
        raise AccessError(f"no token {id[:40]!r}", cure="`python -m audiotune.access token list` shows their ids")
    ended = token.model_copy(update={"revoked": token.revoked or now or datetime.now(UTC)})
    store.put(ended.key, ended.model_dump_json(indent=1).encode())
    return ended


def list_tokens(store: Store) -> list[Token]:
    """All tokens, oldest first, also those that no longer count."""
    found = (_read_token(store, TOKENS.rest_of(entry.key).removesuffix(".json")) for entry in store.list(TOKENS.path))
    return sorted((token for token in found if token is not None), key=lambda token: token.made)


_lock = threading.Lock()
_token_cache: dict[tuple[str, str], tuple[Token | None, datetime]] = {}


def _read_cached_token(store: Store, id: str, now: datetime) -> Token | None:
    place = (store.url, id)
    with _lock:
        token, at = _token_cache.get(place, (None, None))
    if at is not None and 0 <= (now - at).total_seconds() < FRESH_S:
        return token
    token = _read_token(store, id)
    with _lock:
        if len(_token_cache) >= _CACHE_LIMIT:  # made-up ids must not fill the memory
            _token_cache.clear()
        _token_cache[place] = (token, now)
    return token


def _read_token(store: Store, id: str) -> Token | None:
    try:
        return Token.model_validate_json(store.get(TOKENS.key(f"{id}.json")))
    except (NotInStoreError, ValidationError):
        return None


def _hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
