"""Accounts: members who sign in to the studio with a password. Passwords are hashed with scrypt (RFC 7914), each with its own salt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from audiotune.access import list_records, read_record
from audiotune.access.tokens import revoke_member_tokens
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MemberId, is_member_id, require_member_id
from audiotune.errors import AccessError, AlreadyInStoreError
from audiotune.store.layout import ACCOUNTS
from audiotune.store.port import Store

Role = Literal["owner", "member"]
SHORTEST = 10
_LONGEST = 1024  # hashing more would only cost time
_N, _R = 1 << 14, 8  # 16 MiB
WORK = 5  # scrypt's p: with the above about 0.2 s, as OWASP's password storage cheat sheet asks


class Account(FrozenModel):
    """A member who can sign in."""

    member: MemberId
    role: Role = "member"
    password: str = Field(repr=False, description="scrypt$n$r$p$salt$hash, the last two in base64; empty: none signs in")
    made: datetime
    changed: datetime

    @property
    def key(self) -> str:
        return account_key(self.member)


def account_key(member: str) -> str:
    """Store key of a member's account."""
    return ACCOUNTS.key(f"{member}.json")


def create_account(
    store: Store, member: str, password: str | None, role: Role = "member", now: datetime | None = None, *, work: int = WORK
) -> Account:
    """Creates an account; without a password for a member who signs in at a provider (identities) and has a role here.

    Raises AccessError: no member id, a password too short or too long, an account that exists.
    """
    require_member_id(member)
    now = now or datetime.now(UTC)
    account = Account(
        member=member, role=role, password="" if password is None else _hash_password(password, work), made=now, changed=now
    )
    try:
        store.put(account.key, account.model_dump_json(indent=1).encode(), only_new=True)
    except AlreadyInStoreError:
        raise AccessError(f"{member} has an account", cure="change its password instead") from None
    return account


def change_password(
    store: Store, member: str, password: str, now: datetime | None = None, *, work: int = WORK, keep_tokens: bool = False
) -> Account:
    """Sets a new password and ends the member's tokens, unless they are kept: whoever knew the old password may have made one.

    Raises AccessError: no such account, a password too short or too long.
    """
    account = read_account(store, member)
    if account is None:
        raise AccessError(f"{member[:64]!r} has no account", cure="make one first")
    changed = account.model_copy(update={"password": _hash_password(password, work), "changed": now or datetime.now(UTC)})
    store.put(changed.key, changed.model_dump_json(indent=1).encode())
    if not keep_tokens:
        revoke_member_tokens(store, member, now)
    return changed


def remove_account(store: Store, member: str) -> None:
    """Deletes an account; the member's tokens stay valid. Raises AccessError: no account, the only owner's."""
    account = read_account(store, member)
    if account is None:
        raise AccessError(f"{member[:64]!r} has no account", cure="list them first")
    if account.role == "owner" and sum(each.role == "owner" for each in list_accounts(store)) == 1:
        raise AccessError(f"{member} is the only owner", cure="make another owner first")
    store.delete(account.key)


def verify_password(store: Store, member: str, password: str) -> Account | None:
    """The account if the password is right. Takes as long for members that do not exist, so the time does not tell who exists."""
    account = read_account(store, member)
    is_right = _matches_hash(password, (account.password if account else "") or _UNKNOWN_MEMBER_HASH)
    return account if is_right else None


def read_account(store: Store, member: str) -> Account | None:
    """The account without any check of a password, or None."""
    return read_record(store, account_key(member), Account) if is_member_id(member) else None


def list_accounts(store: Store) -> list[Account]:
    """All accounts, by member."""
    return list_records(store, ACCOUNTS, Account)


def generate_password() -> str:
    """A random password: 120 bits in 20 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(15)


def _hash_password(password: str, work: int) -> str:
    if not SHORTEST <= len(password) <= _LONGEST:
        raise AccessError(f"a password of {len(password)} characters", cure=f"choose one of {SHORTEST} to {_LONGEST}")
    salt = secrets.token_bytes(16)
    return _format_hash(work, salt, _derive_hash(password, salt, _N, _R, work))


def _format_hash(work: int, salt: bytes, digest: bytes) -> str:
    return "$".join(("scrypt", str(_N), str(_R), str(work), *(base64.b64encode(part).decode() for part in (salt, digest))))


def _matches_hash(password: str, stored: str) -> bool:
    if len(password) > _LONGEST:
        return False
    try:
        kind, n, r, p, salt, digest = stored.split("$")
        expected = base64.b64decode(digest, validate=True)
        given = _derive_hash(password, base64.b64decode(salt, validate=True), int(n), int(r), int(p))
    except ValueError:
        return False
    return kind == "scrypt" and hmac.compare_digest(given, expected)


def _derive_hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 << 20, dklen=32)


_UNKNOWN_MEMBER_HASH = _format_hash(WORK, bytes(16), bytes(32))
