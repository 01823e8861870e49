"""Identities: what a sign-in provider calls a person -> the member they are. Kept in the store, written by owners.

One key for each identity, named by its hash: two members can never share one, and a look costs one read.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiotune.domain.member import MemberId, require_member_id
from audiotune.errors import AccessError, AlreadyInStoreError, NotInStoreError
from audiotune.store.layout import IDENTITIES
from audiotune.store.port import Store

LONGEST = 320  # the longest e-mail address


class Identity(BaseModel):
    """A person at the provider, and who they are here.

    Attributes:
        identity: value of the claim that names people, as in an e-mail address or a `sub`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str = Field(min_length=1, max_length=LONGEST)
    member: MemberId
    made: datetime

    @property
    def key(self) -> str:
        return _identity_key(self.identity)


def add_identity(store: Store, member: str, identity: str, now: datetime | None = None) -> Identity:
    """Raises AccessError: no member id, an identity that is empty, too long or another member's."""
    identity = identity.strip()
    require_member_id(member)
    if not identity or len(identity) > LONGEST or not identity.isprintable():
        raise AccessError("this is no identity", cure=f"give what the provider calls the person, {LONGEST} characters at most")
    made = Identity(identity=identity, member=member, made=now or datetime.now(UTC))
    try:
        store.put(made.key, made.model_dump_json(indent=1).encode(), only_new=True)
    except AlreadyInStoreError:
        there = find_identity(store, identity)
        if there is not None and there.member == member:
            return there
        who = there.member if there else "somebody"
        raise AccessError(f"{identity} is {who} already", cure="remove it there first") from None
    return made


def find_identity(store: Store, identity: str) -> Identity | None:
    """Who this is, or None. Letters count as the provider writes them."""
    if not identity or len(identity) > LONGEST:
        return None
    try:
        found = Identity.model_validate_json(store.get(_identity_key(identity)))
    except (NotInStoreError, ValidationError):
        return None
    return found if found.identity == identity else None


def remove_identity(store: Store, identity: str) -> None:
    """Raises AccessError when there is none."""
    found = find_identity(store, identity.strip())
    if found is None:
        raise AccessError(f"nobody is known as {identity.strip()[:LONGEST]!r}", cure="list them first")
    store.delete(found.key)


def list_identities(store: Store) -> list[Identity]:
    """All of them, by member."""
    found = []
    for entry in store.list(IDENTITIES.path):
        try:
            found.append(Identity.model_validate_json(store.get(entry.key)))
        except (NotInStoreError, ValidationError):
            continue
    return sorted(found, key=lambda one: (one.member, one.identity))


def _identity_key(identity: str) -> str:
    return IDENTITIES.key(f"{hashlib.sha256(identity.encode()).hexdigest()}.json")
