"""The group decides: proposals, votes, and what may happen only by an accepted proposal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, DecisionError
from audiotune.governance.agreement_changes import describe_changes, find_rule, list_deciding_kinds
from audiotune.governance.agreement_record import Agreement, ProposalKind
from audiotune.governance.agreement_words import KIND_WORDS
from audiotune.governance.ledger.agreement_events import complete_agreement
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
from audiotune.governance.ledger.state import GovernanceState
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
    rule = find_rule(_require_agreement(open_ledger(store).read_state(), store), kind)
    try:
        return ProposalOpened(kind=kind, title=title.strip(), text=text.strip(), change=dict(change or {}), rule=rule)
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DecisionError(f"this is no proposal: {fault['msg']}", where=where, cure="mend it and propose it again") from e


def draft_agreement_proposal(
    state: GovernanceState, agreement: Agreement, title: str = "", text: str = "", instead_of: Digest = ""
) -> ProposalOpened:
    """The proposal of a new text.

    Args:
        instead_of: digest of the version in force that its writer saw; empty for a file.

    Raises AgreementError: nothing is in force, or nothing differs.

    Raises DecisionError: it changes what is decided by several rules.
    """
    old = state.agreement
    if old is None:
        raise AgreementError("there is no agreement yet", cure="make it first")
    new = complete_agreement(state, agreement, instead_of)
    new = new.model_copy(update={"version": max(new.version, old.version + 1)})
    changes = describe_changes(old, new)
    if not changes:
        raise AgreementError("nothing differs from the version in force", cure="change something first")
    kinds = list_deciding_kinds(old, new) or ["agreement"]
    if len(kinds) > 1:
        several = "; ".join(KIND_WORDS[kind] for kind in kinds)
        raise DecisionError(f"this changes what is decided by several rules: {several}", cure="propose each on its own")
    return ProposalOpened(
        kind=kinds[0],
        title=title.strip() or changes[0][:200],
        text=text.strip(),
        change={"agreement": new.digest},
        agreement=new,
        instead_of=old.digest,
        rule=find_rule(old, kinds[0]),
    )


def request_decision(store: Store, kind: ProposalKind, title: str, text: str, change: Mapping[str, str]) -> Proposal | None:
    """What the group says to a change that a program asks for: the accepted proposal, or the open one, which is opened where there is
    none. None where the agreement asks for no decision."""
    close_decided_proposals(store)
    if not needs_decision(store, kind):
        return None
    found = find_decision(store, kind, change)
    if found:
        return found

    def find_open(state: GovernanceState) -> Proposal | None:
        same = (one for one in state.proposals.values() if (one.kind, one.outcome, one.change) == (kind, "", dict(change)))
        return next(same, None)

    def draft_event(state: GovernanceState) -> EventDraft | None:
        if find_open(state):
            return None
        rule = find_rule(_require_agreement(state, store), kind)
        body = ProposalOpened(kind=kind, title=title[:200], text=text[:10_000], change=dict(change), rule=rule)
        return EventDraft("proposal_opened", body)

    ledger = open_ledger(store)
    event = ledger.append(draft_event)
    return ledger.read_state().proposals[event.number] if event else find_open(ledger.read_state())


def _require_agreement(state: GovernanceState, store: Store) -> Agreement:
    if state.agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="make the agreement first")
    return state.agreement


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
    """The accepted proposal for this change; None where the agreement asks for none.

    Raises DecisionError: the agreement asks for one, and there is none.
    """
    if not needs_decision(store, kind):
        return None
    found = find_decision(store, kind, change)
    if found:
        return found
    wanted = ", ".join(f"{name} {value}" for name, value in change.items())
    raise DecisionError(
        f"the agreement puts this under a decision of the group ({kind.replace('_', ' ')}: {wanted}), and none is accepted",
        cure="open a proposal on the studio's Agreement page, and vote",
    )


def find_decision(store: Store, kind: ProposalKind, change: Mapping[str, str]) -> Proposal | None:
    """The newest accepted proposal that names at least this change."""
    wanted = change.items()
    for proposal in reversed(read_proposals(store).values()):
        if (proposal.kind, proposal.outcome) == (kind, "accepted") and wanted <= proposal.change.items():
            return proposal
    return None
