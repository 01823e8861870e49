"""Events about decisions: a proposal is opened, discussed, voted on, closed by its kind's rule, and carried out.

What the ledger itself knows (the agreement, who is in the group, which release plays) is carried out by the event that closes the
proposal, see `carry_out`: there is no second act that could be forgotten or done twice.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, DecisionError
from audiotune.governance.agreement_changes import find_rule
from audiotune.governance.agreement_record import Agreement, DecisionRule, ProposalKind
from audiotune.governance.ledger.carry_out import carry_out_decision, require_possible_change
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import Choice, Comment, Proposal, decide_proposal, parse_event_time

# What programs ask the group for, in nobody's name: register, and ingest.
REQUESTED_KINDS: tuple[ProposalKind, ...] = ("champion", "foreign_recording")
_CURE = "look at the list of proposals"


class ProposalOpened(FrozenModel):
    """A proposal, of a member or of a program that needs the group's word (REQUESTED_KINDS).

    Attributes:
        change: what is to be done, by the names of its kind (REQUIRED_CHANGES), as in {"release": "audio-tune", "version": "3"}.
        agreement: the new text, where the agreement is to be changed; `change` then has its digest.
        instead_of: digest of the version that its writer saw.
    """

    kind: ProposalKind
    title: str = Field(min_length=1, max_length=200)
    text: str = Field(default="", max_length=10_000)
    change: dict[str, str] = Field(default={}, max_length=20)
    agreement: Agreement | None = None
    instead_of: Digest = ""
    rule: DecisionRule


class CommentMade(FrozenModel):
    proposal: int = Field(ge=1)
    text: str = Field(min_length=1, max_length=5000)


class VoteCast(FrozenModel):
    """A member's vote; the newest one counts."""

    proposal: int = Field(ge=1)
    choice: Choice


class ProposalClosed(FrozenModel):
    """The end of a proposal, as its rule says it."""

    proposal: int = Field(ge=1)
    outcome: Literal["accepted", "rejected"]


class ProposalExecuted(FrozenModel):
    """What an accepted proposal asks for was done."""

    proposal: int = Field(ge=1)
    result: str = Field(default="", max_length=1000)


def _open_proposal(state: GovernanceState, event: LedgerEvent, body: ProposalOpened) -> None:
    by = event.by if not event.by and body.kind in REQUESTED_KINDS else require_active_member(state, event.by)
    if state.agreement is None:
        raise AgreementError("there is no agreement yet", cure="make it first")
    if body.rule != find_rule(state.agreement, body.kind):
        raise DecisionError("the agreement in force decides by another rule by now", cure="open the proposal again")
    require_possible_change(state, body)
    concerned = body.change.get("member") if body.kind == "exclude" else ""
    state.proposals[event.number] = Proposal(
        id=event.number,
        by=by,
        opened=event.time,
        voters=tuple(one.id for one in state.agreement.active_members if one.id != concerned),
        **{**{name: getattr(body, name) for name in ProposalOpened.model_fields}, "instead_of": state.agreement_text},
    )


def _comment(state: GovernanceState, event: LedgerEvent, body: CommentMade) -> None:
    proposal = _find_open(state, body.proposal, event)
    said = Comment(by=require_active_member(state, event.by), time=event.time, text=body.text)
    state.proposals[proposal.id] = proposal.model_copy(update={"comments": (*proposal.comments, said)})


def _vote(state: GovernanceState, event: LedgerEvent, body: VoteCast) -> None:
    proposal, member = _find_open(state, body.proposal, event), require_active_member(state, event.by)
    if member not in proposal.voters:
        raise DecisionError(f"{member} was no member when proposal {proposal.id} was opened", cure="discuss it there")
    state.proposals[proposal.id] = proposal.model_copy(update={"votes": {**proposal.votes, member: body.choice}})


def _close(state: GovernanceState, event: LedgerEvent, body: ProposalClosed) -> None:
    proposal = _require_proposal(state, body.proposal)
    if proposal.outcome:
        raise DecisionError(f"proposal {proposal.id} is closed already", cure=_CURE)
    outcome = decide_proposal(proposal, parse_event_time(event.time))
    if outcome != body.outcome:
        raise DecisionError(f"proposal {proposal.id} is {outcome or 'not decided yet'}", cure="count the votes again")
    decided = proposal.model_copy(update={"outcome": outcome})
    state.proposals[proposal.id] = carry_out_decision(state, event, decided) if outcome == "accepted" else decided


def _execute(state: GovernanceState, event: LedgerEvent, body: ProposalExecuted) -> None:
    proposal = _require_proposal(state, body.proposal)
    if proposal.outcome != "accepted" or proposal.executed:
        why = "carried out already" if proposal.executed else "not accepted"
        raise DecisionError(f"proposal {proposal.id} is {why}", cure=_CURE)
    state.proposals[proposal.id] = proposal.model_copy(update={"executed": event.number, "result": body.result})


def _require_proposal(state: GovernanceState, id: int) -> Proposal:
    if id not in state.proposals:
        raise DecisionError(f"there is no proposal {id}", cure=_CURE)
    return state.proposals[id]


def _find_open(state: GovernanceState, id: int, event: LedgerEvent) -> Proposal:
    """A proposal that can be voted on at the event's time. Raises DecisionError: it is closed, or its time is over."""
    proposal = _require_proposal(state, id)
    if proposal.outcome or parse_event_time(event.time) >= proposal.ends:
        raise DecisionError(f"proposal {id} has ended", cure="open a new one")
    return proposal


KINDS = {
    "proposal_opened": EventKind(ProposalOpened, _open_proposal, "member"),
    "proposal_commented": EventKind(CommentMade, _comment, "member"),
    "vote_cast": EventKind(VoteCast, _vote, "member"),
    "proposal_closed": EventKind(ProposalClosed, _close),
    "proposal_executed": EventKind(ProposalExecuted, _execute),
}
