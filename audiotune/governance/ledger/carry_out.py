"""What an accepted proposal changes in the state, and what a proposal must name for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from audiotune.domain.member import is_member_id
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, DecisionError, GovernanceError
from audiotune.governance.agreement_changes import keep_former_members, list_deciding_kinds
from audiotune.governance.agreement_record import Agreement, Member, ProposalKind
from audiotune.governance.agreement_words import KIND_WORDS
from audiotune.governance.ledger.agreement_events import change_membership, put_agreement_in_force, require_same_version
from audiotune.governance.ledger.event_kind import require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import Proposal

# Kind -> what its change names. A change of the agreement carries the text instead.
REQUIRED_CHANGES: dict[ProposalKind, tuple[str, ...]] = {
    "champion": ("release", "version"),
    "publish_release": ("release", "version"),
    "foreign_recording": ("recording",),
    "take_in": ("member", "name"),
    "exclude": ("member",),
    "owner": ("member",),
}


class ProposedChange(Protocol):
    """What a proposal is to change."""

    @property
    def kind(self) -> ProposalKind: ...
    @property
    def change(self) -> dict[str, str]: ...
    @property
    def agreement(self) -> Agreement | None: ...
    @property
    def instead_of(self) -> Digest: ...


def require_possible_change(state: GovernanceState, proposed: ProposedChange) -> None:
    """Raises DecisionError or AgreementError: the proposal does not name what its kind needs, or it could not be carried out."""
    kind, change = proposed.kind, proposed.change
    if proposed.agreement is not None:
        _require_possible_text(state, proposed, proposed.agreement)
        return
    if kind == "agreement":
        cure = "propose it on the studio's Agreement page, or with `audiotune agreement propose FILE`"
        raise DecisionError("a proposal to change the agreement carries its new text", cure=cure)
    missing = [name for name in REQUIRED_CHANGES.get(kind, ()) if not change.get(name, "").strip()]
    if missing:
        cure = f"as in {' '.join(f'{name}=...' for name in REQUIRED_CHANGES[kind])}"
        raise DecisionError(f"a proposal to {KIND_WORDS[kind]} names {' and '.join(missing)}", cure=cure)
    if kind in ("exclude", "owner"):
        require_active_member(state, change["member"])
    if kind == "take_in":
        _require_newcomer(state, change["member"])
    if kind == "champion" and not change["version"].isdecimal():
        raise DecisionError(f"{change['version'][:40]!r} is no version", cure="versions are numbers, as in version=3")


def _require_possible_text(state: GovernanceState, proposed: ProposedChange, text: Agreement) -> None:
    require_same_version(state, proposed.instead_of)
    if proposed.change.get("agreement") != text.digest:
        raise AgreementError("the proposal names another digest than its text has", cure="propose it again")
    if not text.active_members:
        raise AgreementError("everybody in it has left", cure="an agreement needs a member who is in the group")
    needed = list_deciding_kinds(state.agreement, text) or ["agreement"]
    if needed != [proposed.kind]:
        raise DecisionError(
            f"this changes what is decided by other rules: {', '.join(KIND_WORDS[kind] for kind in needed)}",
            cure="propose each on its own" if len(needed) > 1 else f"propose it as: {KIND_WORDS[needed[0]]}",
        )


def _require_newcomer(state: GovernanceState, id: str) -> None:
    known = state.agreement.find_member(id) if state.agreement else None
    if not is_member_id(id):
        raise DecisionError(f"{id[:64]!r} is no member id", cure="small letters, digits, '_' and '-' only")
    if known and not known.left:
        raise DecisionError(f"{id} is a member already", cure="look at the agreement")


def carry_out_decision(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> Proposal:
    """Makes the change of an accepted proposal, where it is one of the state's own; else leaves it to people and programs.

    What cannot be carried out any more stays accepted, with the reason as its result.
    """
    carry_out = _change_agreement if proposal.agreement else _CHANGES.get(proposal.kind)
    if carry_out is None:
        return proposal
    try:
        result, number = carry_out(state, event, proposal), event.number
    except GovernanceError as e:
        result, number = f"not carried out: {e.what}", 0
    return proposal.model_copy(update={"executed": number, "result": result})


def _change_agreement(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    """The new text takes force. Who joined or left while it was voted on has joined or left."""
    text, current = proposal.agreement, state.agreement
    if text is None or current is None or state.agreement_text != proposal.instead_of:
        raise AgreementError("another version of the agreement took force meanwhile")
    settled = {member: number for member, number in state.member_changes.items() if number > proposal.id}
    text = keep_former_members(current, text, settled)
    if text.version <= current.version:
        text = text.model_copy(update={"version": current.version + 1})
    put_agreement_in_force(state, text)
    return f"version {text.version} of the agreement is in force"


def _take_in(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    id = proposal.change["member"]
    _require_newcomer(state, id)
    known = state.agreement.find_member(id) if state.agreement else None
    member = known.model_copy(update={"left": False}) if known else Member(id=id, name=proposal.change["name"])
    change_membership(state, event, member)
    return f"{member.name} is a member"


def _exclude(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    id = require_active_member(state, proposal.change["member"])
    known = state.agreement.find_member(id) if state.agreement else None
    assert known is not None
    change_membership(state, event, known.model_copy(update={"left": True}))
    for one in [one for one in state.proposals.values() if not one.outcome]:
        state.proposals[one.id] = one.without_voter(id)
    return f"{known.name} is no member any more"


def _make_owner(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    member = require_active_member(state, proposal.change["member"])
    state.decided_owners[member] = event.number
    return f"{member} is an owner"


def _let_play(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    release, version = proposal.change["release"], proposal.change["version"]
    state.champions[release] = version
    return f"version {version} of {release} plays"


def _take_recording(state: GovernanceState, event: LedgerEvent, proposal: Proposal) -> str:
    state.foreign_recordings[proposal.change["recording"]] = proposal.id
    return "it may be taken in"


_CHANGES: dict[ProposalKind, Callable[[GovernanceState, LedgerEvent, Proposal], str]] = {
    "take_in": _take_in,
    "exclude": _exclude,
    "owner": _make_owner,
    "champion": _let_play,
    "foreign_recording": _take_recording,
}
