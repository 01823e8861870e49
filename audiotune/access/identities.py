"""Identities: which member a person of a sign-in provider is. The store keeps them, owners write them.

The key of an identity is its hash: two members can never share one, and to look one up takes one read.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pydantic import Field

from audiotune.access import list_records, read_record
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MemberId, require_member_id
from audiotune.errors import AccessError, AlreadyInStoreError
from audiotune.store.layout import IDENTITIES
from audiotune.store.port import Store

LONGEST = 320  # the longest e-mail address


class Identity(FrozenModel):
    """A person at the provider, and the member they are here.

    Attributes:
        identity: value of the claim that names people, as in an e-mail address or a `sub`.
    """

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
    added = Identity(identity=identity, member=member, made=now or datetime.now(UTC))
    try:
        store.put(added.key, added.model_dump_json(indent=1).encode(), only_new=True)
    except AlreadyInStoreError:
        existing = find_identity(store, identity)
        if existing is not None and existing.member == member:
            return existing
        owner = existing.member if existing else "somebody"
        raise AccessError(f"{identity} is {owner} already", cure="remove it there first") from None
    return added


def find_identity(store: Store, identity: str) -> Identity | None:
    """The record of an identity, or None. Case counts."""
    if not identity or len(identity) > LONGEST:
        return None
    found = read_record(store, _identity_key(identity), Identity)
    return found if found and found.identity == identity else None


def remove_identity(store: Store, identity: str) -> None:
    """Raises AccessError when there is none."""
    found = find_identity(store, identity.strip())
    if found is None:
        raise AccessError(f"nobody is known as {identity.strip()[:LONGEST]!r}", cure="list them first")
    store.delete(found.key)


def list_identities(store: Store) -> list[Identity]:
    """All of them, by member."""
    return sorted(list_records(store, IDENTITIES, Identity), key=lambda found: (found.member, found.identity))


def _identity_key(identity: str) -> str:
    return IDENTITIES.key(f"{hashlib.sha256(identity.encode()).hexdigest()}.json")
