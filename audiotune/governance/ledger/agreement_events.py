"""Events about the agreement: a version takes force, members sign it, and a member leaves."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, DecisionError, GovernanceError
from audiotune.governance.agreement_changes import keep_former_members, list_deciding_kinds
from audiotune.governance.agreement_record import HIGHEST_VERSION, Agreement, Member
from audiotune.governance.agreement_words import KIND_WORDS
from audiotune.governance.ledger.event_kind import EventKind, refuse_late_import, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState


class AgreementPublished(FrozenModel):
    """A version of the agreement takes force by the word of an owner or operator.

    Attributes:
        instead_of: digest of the version that its writer saw; empty where they saw none, as with a file.
        override: why an operator publishes it although the agreement asks for a decision of the group. Never of a member.
    """

    agreement: Agreement
    instead_of: Digest = ""
    override: str = Field(default="", max_length=1000)


class AgreementUnreadable(FrozenModel):
    """The newest earlier version of the agreement cannot be read: nobody knows what is allowed until a later one is published."""

    version: int = Field(ge=1)


class AgreementSigned(FrozenModel):
    """A member has read the agreement in force and signs it."""

    agreement: Digest


class MemberLeft(FrozenModel):
    """A member leaves the group, by their own word. From then on none of their recordings passes a gate."""

    why: str = Field(default="", max_length=2000)


def _publish_agreement(state: GovernanceState, event: LedgerEvent, body: AgreementPublished) -> None:
    refuse_late_import(state, event)
    require_same_version(state, body.instead_of)
    newest = state.unreadable_agreement or (state.agreement.version if state.agreement else 0)
    if newest >= body.agreement.version:
        raise AgreementError(
            f"version {newest} of the agreement is in force and differs", cure=f"set version = {newest + 1} in yours"
        )
    text = body.agreement
    if event.via != "import":  # earlier versions are taken over as they were
        text = complete_agreement(state, text, body.instead_of)
        _require_right_to_publish(state, event, body, text)
    if body.instead_of:
        state.member_changes = {}
    put_agreement_in_force(state, text)


def complete_agreement(state: GovernanceState, text: Agreement, instead_of: Digest = "") -> Agreement:
    """A text with everybody whom the version in force names.

    A text whose writer did not look at that version, as a file, does not undo that somebody left, or was taken in, by an event.
    """
    return keep_former_members(state.agreement, text, () if instead_of else state.member_changes)


def _require_right_to_publish(state: GovernanceState, event: LedgerEvent, body: AgreementPublished, text: Agreement) -> None:
    if not text.active_members:
        raise AgreementError("everybody in it has left", cure="an agreement needs a member who is in the group")
    if body.override and not event.by:
        return
    kinds = list_deciding_kinds(state.agreement, text)
    if kinds:
        what = f"the agreement puts this under a decision of the group ({', '.join(KIND_WORDS[kind] for kind in kinds)})"
        raise DecisionError(what, cure="propose it: on the studio's Agreement page, or with `audiotune agreement propose FILE`")


def require_same_version(state: GovernanceState, instead_of: Digest) -> None:
    """Raises AgreementError: the version that somebody saw is not in force any more. An empty one says that they saw none."""
    if instead_of and (state.agreement is None or state.agreement.digest != instead_of):
        raise AgreementError("another version of the agreement took force meanwhile", cure="look at what differs from that one")


def put_agreement_in_force(state: GovernanceState, agreement: Agreement) -> None:
    """A version that was written as a whole."""
    state.agreement, state.unreadable_agreement = agreement, 0
    state.agreements[agreement.digest] = agreement.version
    state.agreement_text = agreement.digest


def change_membership(state: GovernanceState, event: LedgerEvent, member: Member) -> None:
    """The agreement in force with one member as given, under the next version. What the others signed stays signed."""
    old = state.agreement
    assert old is not None
    known = old.find_member(member.id)
    members = [member if one.id == member.id else one for one in old.members] + ([] if known else [member])
    new = old.model_copy(update={"version": min(old.version + 1, HIGHEST_VERSION), "members": tuple(members)})
    signed = {who: number for who, number in state.signatures.get(old.digest, {}).items() if who != member.id}
    state.agreement, state.agreements[new.digest] = new, new.version
    state.member_changes[member.id] = event.number
    if signed:
        state.signatures[new.digest] = signed


def _note_unreadable(state: GovernanceState, event: LedgerEvent, body: AgreementUnreadable) -> None:
    refuse_late_import(state, event)
    state.agreement, state.unreadable_agreement = None, body.version


def _sign_agreement(state: GovernanceState, event: LedgerEvent, body: AgreementSigned) -> None:
    member = require_active_member(state, event.by)
    if state.agreement is None or state.agreement.digest != body.agreement:
        raise AgreementError("another version of the agreement is in force by now", cure="read it and sign that one")
    state.signatures[body.agreement] = {member: event.number, **state.signatures.get(body.agreement, {})}


def _leave_group(state: GovernanceState, event: LedgerEvent, body: MemberLeft) -> None:
    """Nobody is asked. Who leaves is asked no more: open proposals are decided by those who stay."""
    member = require_active_member(state, event.by)
    found = state.agreement.find_member(member) if state.agreement else None
    if found is None:
        raise GovernanceError(f"{member} is no member")
    change_membership(state, event, found.model_copy(update={"left": True}))
    for proposal in [one for one in state.proposals.values() if not one.outcome]:
        state.proposals[proposal.id] = proposal.without_voter(member)


KINDS = {
    "agreement_published": EventKind(AgreementPublished, _publish_agreement, "owner", fresh=True),
    "agreement_unreadable": EventKind(AgreementUnreadable, _note_unreadable),
    "agreement_signed": EventKind(AgreementSigned, _sign_agreement, "member"),
    "member_left": EventKind(MemberLeft, _leave_group, "member", fresh=True),
}
