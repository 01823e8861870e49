"""The group decides: proposals, votes, and what may happen only by an accepted proposal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from audiotune.errors import AgreementError, DecisionError
from audiotune.governance.agreement_record import DecisionRule, ProposalKind
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.events import Via
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.proposal_events import (
    CommentMade,
    ProposalClosed,
    ProposalExecuted,
    ProposalOpened,
    VoteCast,
)
from audiotune.governance.proposal import Choice, Proposal, decide_proposal
from audiotune.store.port import Store


def open_proposal(
    store: Store,
    by: str,
    kind: ProposalKind,
    title: str,
    text: str = "",
    change: Mapping[str, str] | None = None,
    *,
    via: Via = "sign_in",
) -> Proposal:
    """Opens a proposal. Raises GovernanceError: `by` is no active member. Raises AgreementError: there is no agreement yet."""
    body = draft_proposal(store, kind, title, text, change)
    event = open_ledger(store).append(lambda state: EventDraft("proposal_opened", body, by, via))
    assert event is not None
    return read_proposals(store)[event.number]


def draft_proposal(
    store: Store, kind: ProposalKind, title: str, text: str = "", change: Mapping[str, str] | None = None
) -> ProposalOpened:
    """What opens a proposal, with the agreement's rule for its kind. Raises AgreementError: there is no agreement yet.

    Raises DecisionError: too long, or without a title.
    """
    agreement = open_ledger(store).read_state().agreement
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="make the agreement first")
    rule = agreement.decisions.get(kind, DecisionRule())
    try:
        return ProposalOpened(kind=kind, title=title.strip(), text=text.strip(), change=dict(change or {}), rule=rule)
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DecisionError(f"this is no proposal: {fault['msg']}", where=where, cure="mend it and propose it again") from e


def comment_on_proposal(store: Store, by: str, proposal: int, text: str, *, via: Via = "sign_in") -> None:
    """Adds a comment. Raises DecisionError: no such proposal, or it has ended."""
    body = CommentMade(proposal=proposal, text=text.strip())
    open_ledger(store).append(lambda state: EventDraft("proposal_commented", body, by, via))


def cast_vote(
    store: Store,
    by: str,
    proposal: int,
    choice: Choice,
    *,
    via: Via = "sign_in",
) -> Proposal:
    """Votes, and closes the proposal if that decides it. Raises DecisionError: it has ended, or `by` may not vote on it."""
    body = VoteCast(proposal=proposal, choice=choice)
    open_ledger(store).append(lambda state: EventDraft("vote_cast", body, by, via))
    close_decided_proposals(store)
    return read_proposals(store)[proposal]


def close_decided_proposals(store: Store, now: datetime | None = None) -> list[Proposal]:
    """Closes every proposal that its rule decides by now: by votes, or because its time is over. Returns those."""
    time, closed = now or datetime.now(UTC), []
    for proposal in [one for one in read_proposals(store).values() if not one.outcome]:
        outcome = decide_proposal(proposal, time)
        if outcome:
            body = ProposalClosed(proposal=proposal.id, outcome=outcome)
            event = open_ledger(store).append(
                lambda state, body=body: None if state.proposals[body.proposal].outcome else EventDraft("proposal_closed", body)  # type: ignore[misc]
            )
            closed += [read_proposals(store)[proposal.id]] if event else []
    return closed


def record_execution(store: Store, proposal: int, result: str = "") -> None:
    """Notes that an accepted proposal was carried out. Raises DecisionError: it is not accepted, or was carried out before."""
    body = ProposalExecuted(proposal=proposal, result=result[:1000])
    open_ledger(store).append(lambda state: EventDraft("proposal_executed", body))


def read_proposals(store: Store) -> dict[int, Proposal]:
    """All proposals by their number."""
    return open_ledger(store).read_state().proposals


def needs_decision(store: Store, kind: ProposalKind) -> bool:
    """Whether the agreement in force lets this happen only by an accepted proposal."""
    state = open_ledger(store).read_state()
    return state.agreement is not None and kind in state.agreement.decisions


def require_decision(store: Store, kind: ProposalKind, change: Mapping[str, str]) -> Proposal | None:
    """The accepted proposal for this change that was not carried out yet; None where the agreement asks for none.

    Raises DecisionError: the agreement asks for one, and there is none.
    """
    if not needs_decision(store, kind):
        return None
    close_decided_proposals(store)
    for proposal in reversed(read_proposals(store).values()):
        if (proposal.kind, proposal.outcome, proposal.executed) == (kind, "accepted", 0) and proposal.change == dict(change):
            return proposal
    wanted = ", ".join(f"{name} {value}" for name, value in change.items())
    raise DecisionError(
        f"the agreement puts this under a decision of the group ({kind.replace('_', ' ')}: {wanted}), and none is accepted",
        cure="open a proposal on the studio's Agreement page, and vote",
    )
