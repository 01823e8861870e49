"""A notice: what happened, in words, and whom it concerns. Made of an event of the ledger, a release or a run that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from audiotune.domain.frozen_model import FrozenModel
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.open_matters import StoredNews
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import is_unanswered, join_names


class Notice(FrozenModel):
    """What happened.

    Attributes:
        id: names it for good, as in event-42.
        kind: an event's kind, release, run or upload.
        to: members whom it concerns.
        event: number of the ledger's event; 0 for none.
    """

    id: str
    kind: str
    time: datetime
    words: str
    to: tuple[str, ...]
    event: int = 0


def describe_event_notice(state: GovernanceState, event: LedgerEvent) -> Notice | None:
    """What members are told of an event; None for nothing, as of one that changed nothing.

    Args:
        state: after that event or later ones.
    """
    describe = _EVENTS.get(event.kind)
    if describe is None or state.agreement is None or any(number == event.number for number, _ in state.rejected):
        return None
    names = {one.id: one.name for one in state.agreement.members}
    active = [one.id for one in state.agreement.members if not one.left]
    words, to = describe(state, event, names, active)
    concerned = tuple(who for who in to if who != event.by)
    time = parse_event_time(event.time)
    return Notice(id=f"event-{event.number}", kind=event.kind, time=time, words=words, to=concerned, event=event.number)


def describe_news_notice(state: GovernanceState, news: StoredNews) -> Notice:
    """What members are told of a release or a run."""
    members = state.agreement.members if state.agreement else ()
    everybody = tuple(one.id for one in members if not one.left)
    to = (news.for_member,) if news.for_member else everybody
    return Notice(id=news.id, kind=news.kind, time=news.time.astimezone(UTC), words=news.words, to=to)


_Names = Mapping[str, str]
_Told = tuple[str, Iterable[str]]


def _tell_opened(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    proposal = state.proposals[event.number]
    who, until = join_names([event.by], names), f"{proposal.ends:%d %b %Y, %H:%M} UTC"
    return f"{who} proposes “{proposal.title}” (proposal {proposal.id}): vote until {until}", proposal.voters


def _tell_closed(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    proposal = state.proposals[int(event.body["proposal"])]
    return f"proposal {proposal.id}, “{proposal.title}”, is {proposal.outcome}", active


def _tell_agreement(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    return f"version {event.body['agreement'].get('version')} of the agreement is in force: read it and sign it", active


def _tell_left(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    return f"{join_names([event.by], names)} left the group", active


def _tell_withdrawal(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    return f"{join_names([event.by], names)} took recordings back (withdrawal {event.number})", active


def _tell_waiting(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    recording = str(event.body["recording"])
    asked = [who for who, one in state.consents.get(recording, {}).items() if one.heard and is_unanswered(one)]
    waits = state.waiting.get(recording)
    by = join_names(waits.uploaded_by, names) if waits and waits.uploaded_by else "somebody"
    until = f", until {waits.until[:10]}" if waits else ""
    return f"{by} brought in a recording in which you are heard: it waits for your word{until}", asked


def _tell_lost_key(state: GovernanceState, event: LedgerEvent, names: _Names, active: list[str]) -> _Told:
    return f"{join_names([event.by], names)} says that a key is lost: confirm it if you heard it from them", active


_EVENTS: Mapping[str, Callable[[GovernanceState, LedgerEvent, _Names, list[str]], _Told]] = {
    "proposal_opened": _tell_opened,
    "proposal_closed": _tell_closed,
    "agreement_published": _tell_agreement,
    "member_left": _tell_left,
    "withdrawal_recorded": _tell_withdrawal,
    "recording_waits": _tell_waiting,
    "member_key_lost": _tell_lost_key,
}
