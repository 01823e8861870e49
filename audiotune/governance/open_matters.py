"""What waits for a member, and what is new to them: a pure function of the ledger's state and of what the store shows besides.

It knows no store and no clock of its own; the studio shows it at the top of each page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from audiotune.governance.agreement_record import Member
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.waiting import list_waiting
from audiotune.governance.waiting_record import join_names

MatterKind = Literal["vote", "recording", "signature", "lost_key", "withdrawal", "release", "run", "upload"]
NEWS_DAYS = 14  # for so long a withdrawal, a release and an ended run are new


@dataclass(frozen=True)
class OpenMatter:
    """Something that waits for a member or is new to them.

    Attributes:
        id: the same as long as it is the same matter.
        count: how many things it stands for.
        is_news: it waits for nothing: whoever has seen it may put it away.
    """

    id: str
    kind: MatterKind
    words: str
    count: int = 1
    is_news: bool = False


@dataclass(frozen=True)
class StoredNews:
    """What the store shows beside the ledger: a release, or a training or an upload's run that has ended.

    Attributes:
        id: names it for good.
        for_member: whom it concerns; empty: everybody.
    """

    id: str
    kind: Literal["release", "run", "upload"]
    time: datetime
    words: str
    for_member: str = ""


def list_open_matters(state: GovernanceState, member: str, now: datetime, stored: Iterable[StoredNews] = ()) -> list[OpenMatter]:
    """What waits for the member first, then what is new. Nothing for somebody outside the group."""
    person = state.agreement.find_member(member) if state.agreement else None
    if person is None or person.left:
        return []
    since = now - timedelta(days=NEWS_DAYS)
    return [*_list_waiting(state, person, now), *_list_news(state, person, since, stored)]


def _list_waiting(state: GovernanceState, person: Member, now: datetime) -> Iterator[OpenMatter]:
    assert state.agreement is not None
    asked = list_waiting(state, person.id)
    if asked:
        words = "a recording waits for your word" if len(asked) == 1 else f"{len(asked)} recordings wait for your word"
        yield OpenMatter("recordings", "recording", words, len(asked))
    for proposal in state.proposals.values():
        is_open = not proposal.outcome and now < proposal.ends
        if is_open and person.id in proposal.voters and person.id not in proposal.votes:
            words = f"vote on proposal {proposal.id}, “{proposal.title}”, until {proposal.ends:%d %b %Y}"
            yield OpenMatter(f"proposal-{proposal.id}", "vote", words)
    if person.id not in state.signatures.get(state.agreement.digest, {}):
        words = f"read and sign version {state.agreement.version} of the agreement"
        yield OpenMatter(f"agreement-{state.agreement.version}", "signature", words)
    names = {one.id: one.name for one in state.agreement.members}
    for id, key in state.member_keys.items():
        if key.lost and not key.revoked and key.member != person.id:
            yield OpenMatter(f"key-{id}", "lost_key", f"{names.get(key.member, key.member)} lost a key and asks for your word")


def _list_news(state: GovernanceState, person: Member, since: datetime, stored: Iterable[StoredNews]) -> Iterator[OpenMatter]:
    assert state.agreement is not None
    names = {one.id: one.name for one in state.agreement.members}
    for number, withdrawal in reversed(state.withdrawals.items()):
        if withdrawal.member != person.id and withdrawal.time >= since:
            words = f"{join_names([withdrawal.member], names)} took recordings back (withdrawal {number})"
            yield OpenMatter(f"withdrawal-{number}", "withdrawal", words, is_news=True)
    for one in stored:
        if one.time >= since and one.for_member in ("", person.id):
            yield OpenMatter(one.id, one.kind, one.words, is_news=True)
