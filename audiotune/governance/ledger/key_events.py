"""Events about keys: the service's own, and those of members."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import GovernanceError
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.keys import KeyId, compute_key_id
from audiotune.governance.ledger.state import GovernanceState, MemberKey, ServiceKey

PublicKey = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]  # 32 bytes


class ServiceKeyAdded(FrozenModel):
    """A key of the service that takes events in; the first event names the first one.

    The event is signed by an older key, or by the new one itself where the older one is lost: `audiotune ledger verify` names such keys.
    """

    key: PublicKey


class MemberKeyRegistered(FrozenModel):
    """A member's public key, on the word of their sign-in."""

    key: PublicKey
    label: str = Field(default="", max_length=80)


class MemberKeyLost(FrozenModel):
    """A member says that a key of theirs is lost. It ends when another member confirms that it was they who said so."""

    key_id: KeyId


class LossConfirmed(FrozenModel):
    """Another member confirms it: nobody ends a key alone, also not with a stolen password."""

    key_id: KeyId


class MemberKeyRevoked(FrozenModel):
    """How earlier programs ended a key: on the word of its member, who named another one. It is read, and no longer written."""

    key_id: KeyId
    confirmed_by: str = Field(max_length=64)


def _add_service_key(state: GovernanceState, event: LedgerEvent, body: ServiceKeyAdded) -> None:
    id = compute_key_id(bytes.fromhex(body.key))
    signed_by = event.signatures.service.key
    if signed_by != id and signed_by not in state.service_keys:
        raise GovernanceError(f"the key {signed_by} is not known, so it can introduce no other")
    state.service_keys.setdefault(id, ServiceKey(public=body.key, introduced_by=signed_by, number=event.number))


def _register_member_key(state: GovernanceState, event: LedgerEvent, body: MemberKeyRegistered) -> None:
    member, id = require_active_member(state, event.by), compute_key_id(bytes.fromhex(body.key))
    if id in state.member_keys:
        raise GovernanceError("this key is known already", cure="make a new one")
    state.member_keys[id] = MemberKey(member=member, public=body.key, label=body.label, number=event.number)


def _report_loss(state: GovernanceState, event: LedgerEvent, body: MemberKeyLost) -> None:
    key = _require_own_key(state, require_active_member(state, event.by), body.key_id)
    if key.lost:
        raise GovernanceError(f"you said already that the key {body.key_id} is lost", cure="ask another member to confirm it")
    state.member_keys[body.key_id] = key.model_copy(update={"lost": event.number})


def _confirm_loss(state: GovernanceState, event: LedgerEvent, body: LossConfirmed) -> None:
    member, key = require_active_member(state, event.by), state.member_keys.get(body.key_id)
    if key is None or not key.lost or key.revoked:
        raise GovernanceError(
            f"nobody waits for a word about the key {body.key_id}", cure="its member says first that it is lost"
        )
    if key.member == member:
        raise GovernanceError("a lost key needs the word of another member, too", cure="ask one to confirm it")
    state.member_keys[body.key_id] = key.model_copy(update={"revoked": event.number})


def _require_own_key(state: GovernanceState, member: str, id: str) -> MemberKey:
    key = state.member_keys.get(id)
    if key is None or key.member != member or key.revoked:
        raise GovernanceError(f"{member} has no key {id} that counts", cure="look at the list of your keys")
    return key


def _revoke_member_key(state: GovernanceState, event: LedgerEvent, body: MemberKeyRevoked) -> None:
    key = _require_own_key(state, event.by, body.key_id)
    if require_active_member(state, body.confirmed_by) == event.by:
        raise GovernanceError("a lost key needs the word of another member, too", cure="ask one to confirm it")
    state.member_keys[body.key_id] = key.model_copy(update={"revoked": event.number})


KINDS = {
    "ledger_opened": EventKind(ServiceKeyAdded, _add_service_key),
    "service_key_added": EventKind(ServiceKeyAdded, _add_service_key),
    "member_key_registered": EventKind(MemberKeyRegistered, _register_member_key, "member", fresh=True),
    "member_key_lost": EventKind(MemberKeyLost, _report_loss, "member", fresh=True),
    "key_loss_confirmed": EventKind(LossConfirmed, _confirm_loss, "member", fresh=True),
    "member_key_revoked": EventKind(MemberKeyRevoked, _revoke_member_key),
}
