"""Events about decisions: a proposal is opened, discussed, voted on, closed by its kind's rule, and carried out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import DecisionError
from audiotune.governance.agreement_record import DecisionRule, ProposalKind
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import Choice, Comment, Proposal, decide_proposal, parse_event_time

_CURE = "look at the list of proposals"


class ProposalOpened(FrozenModel):
    """A proposal. `change`: what is to be done, by the names of its kind, as in {"release": "audio-tune", "version": "3"}."""

    kind: ProposalKind
    title: str = Field(min_length=1, max_length=200)
    text: str = Field(default="", max_length=10_000)
    change: dict[str, str] = Field(default={}, max_length=20)
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
    member = require_active_member(state, event.by)
    assert state.agreement is not None
    if body.rule != state.agreement.decisions.get(body.kind, DecisionRule()):
        raise DecisionError("the agreement in force decides by another rule by now", cure="open the proposal again")
    voters = tuple(one.id for one in state.agreement.members if not one.left)
    state.proposals[event.number] = Proposal(
        id=event.number,
        by=member,
        opened=event.time,
        voters=voters,
        **{name: getattr(body, name) for name in ProposalOpened.model_fields},
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
    state.proposals[proposal.id] = proposal.model_copy(update={"outcome": outcome})


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
