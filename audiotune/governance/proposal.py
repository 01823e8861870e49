"""A proposal as data, and how its rule decides it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import DecisionError
from audiotune.governance.agreement_record import Agreement, DecisionRule, ProposalKind

Choice = Literal["yes", "no", "abstain"]
Outcome = Literal["", "accepted", "rejected"]


class Comment(FrozenModel):
    by: str
    time: str
    text: str


class Proposal(FrozenModel):
    """A proposal in the state that the ledger gives it.

    Attributes:
        id: number of the event that opened it.
        opened: time of that event.
        change: what is to be done, by the names of its kind.
        agreement: the new text, where the agreement is to be changed.
        instead_of: digest of the text that was in force when it was opened.
        rule: as the agreement had it when the proposal was opened.
        voters: the members at that time.
        by: the member who opened it; empty for a program that needs the group's word.
        outcome: empty while it is open.
        executed: number of the event that says it was done; 0 before.
    """

    id: int
    kind: ProposalKind
    title: str
    text: str = ""
    change: dict[str, str] = {}
    agreement: Agreement | None = None
    instead_of: Digest = ""
    rule: DecisionRule
    by: str
    opened: str
    voters: tuple[str, ...]
    votes: dict[str, Choice] = {}
    comments: tuple[Comment, ...] = ()
    outcome: Outcome = ""
    executed: int = 0
    result: str = ""

    @property
    def ends(self) -> datetime:
        return parse_event_time(self.opened) + timedelta(days=self.rule.days)

    def describe_result(self) -> str:
        """As in "carried out: version 3 of audio-tune plays"; empty before it was decided, and where people have yet to act."""
        return f"carried out: {self.result}" if self.executed and self.result else self.result

    def without_voter(self, member: str) -> Proposal:
        """The same without somebody who left the group before it was decided."""
        voters = tuple(one for one in self.voters if one != member)
        votes = {who: choice for who, choice in self.votes.items() if who != member}
        return self.model_copy(update={"voters": voters, "votes": votes})

    def count(self, choice: Choice) -> int:
        return sum(vote == choice for vote in self.votes.values())


def parse_event_time(text: str) -> datetime:
    """The time of an event, with time zone."""
    return datetime.fromisoformat(text)


def parse_change(words: Iterable[str]) -> dict[str, str]:
    """What is to be done, written NAME=VALUE. Raises DecisionError."""
    change = dict(word.partition("=")[::2] for word in words)
    if "" in change or "" in change.values():
        raise DecisionError("a change is NAME=VALUE", cure="as in release=audio-tune version=3")
    return change


def decide_proposal(proposal: Proposal, now: datetime) -> Outcome:
    """What the rule says at a time; empty while the proposal is open.

    It ends before its time only when no vote that is still to come can change the outcome.
    """
    yes, no, everybody = proposal.count("yes"), proposal.count("no"), len(proposal.voters)
    if not everybody:
        return "rejected"  # nobody is left who could decide
    is_over = now >= proposal.ends or len(proposal.votes) == everybody
    voted, outstanding = len(proposal.votes), everybody - len(proposal.votes)
    if proposal.rule.needs in ("everybody", "veto") and no:
        return "rejected"
    if proposal.rule.needs == "everybody":
        return "accepted" if yes == everybody else "rejected" if is_over else ""
    if proposal.rule.needs == "veto":  # who is silent agrees, so nobody has to vote
        return "accepted" if is_over else ""
    share = 1 / 2 if proposal.rule.needs == "majority" else 2 / 3
    if is_over:
        has_quorum = voted >= proposal.rule.quorum * everybody
        return "accepted" if has_quorum and _reaches(yes, yes + no, share) else "rejected"
    if voted >= proposal.rule.quorum * everybody and _reaches(yes, yes + no + outstanding, share):
        return "accepted"  # even if all the others said no
    return "" if _reaches(yes + outstanding, yes + no + outstanding, share) else "rejected"


def _reaches(yes: int, cast: int, share: float) -> bool:
    """More than half of the votes cast; at least two thirds of them."""
    return cast > 0 and (yes > cast * share if share == 1 / 2 else yes * 3 >= cast * 2)
