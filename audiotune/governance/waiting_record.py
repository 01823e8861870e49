"""Recordings that wait for somebody's word, as data: who was asked, until when, and how the waiting ended.

Nobody who was named and has not answered agrees to anything: their record of consent has no uses. So a recording that waits passes no
gate, by the same rule as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Literal

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import Agreement
from audiotune.governance.consent_record import Consent

# Begin the basis of records that stand for a person who was named and has not said anything.
ASKED = "asked, no answer yet"
NAMED = "named for a file that was refused"
SOUNDS_ALIKE = "not named, but it sounds the same"
ANSWERED = "answered when asked, event"  # begins the basis of an answer; the event's number follows

Outcome = Literal["", "taken_in", "refused", "left", "expired"]


class WaitingRecording(FrozenModel):
    """A recording that waits, or waited, in the state that the ledger gives it.

    Attributes:
        sound: store key of its bytes; the same folder has what was said about it.
        uploaded_by: members who brought it in.
        since: time of the event that began it.
        until: the last moment for an answer, as times of events are written.
        outcome: empty while it waits.
        ended: time of the event that ended it.
        ended_by: who said no, left, or did not answer.
        erased: number of the event that says that its bytes are gone; 0 before.
    """

    recording: Digest
    sound: str
    uploaded_by: tuple[str, ...] = ()
    since: str
    until: str
    outcome: Outcome = ""
    ended: str = ""
    ended_by: tuple[str, ...] = ()
    erased: int = 0


class WaitingVerdict(FrozenModel):
    """Where a recording stands that waits.

    Attributes:
        kind: asking: some have not answered; agreed: all agree to keep it; else why it is to be deleted.
        people: who has not answered, said no, or left.
    """

    kind: Literal["asking", "agreed", "refused", "left", "expired"]
    people: tuple[str, ...] = ()


def is_unanswered(record: Consent) -> bool:
    """Whether a record only says that somebody was named."""
    return record.basis.startswith((ASKED, NAMED))


def judge_waiting(
    until: datetime,
    agreement: Agreement | None,
    records: Mapping[str, Consent],
    taken_back: Collection[str],
    now: datetime,
) -> WaitingVerdict:
    """Where a recording stands.

    Args:
        until: the last moment for an answer.
        records: contributor -> the record that counts.
        taken_back: who took it back, without an answer before.
    """
    heard = {who: record for who, record in sorted(records.items()) if record.heard}
    members = {member.id for member in agreement.members if not member.left} if agreement else set()
    left = tuple(who for who in heard if who not in members)
    if left:
        return WaitingVerdict(kind="left", people=left)
    silent = tuple(who for who, record in heard.items() if is_unanswered(record) and who not in taken_back)
    refused = tuple(who for who, record in heard.items() if who not in silent and not record.agrees_to("store", now))
    if refused:
        return WaitingVerdict(kind="refused", people=refused)
    if not silent:
        return WaitingVerdict(kind="agreed")
    return WaitingVerdict(kind="expired" if now >= until else "asking", people=silent)


def describe_end(waited: WaitingRecording, names: Mapping[str, str] | None = None) -> str:
    """Why a waiting ended, in words. `names`: member id -> name."""
    who = join_names(waited.ended_by, names)
    if waited.outcome == "refused":
        return f"{who} said no"
    if waited.outcome == "left":
        return f"{who} left the group without an answer"
    return f"{who} did not answer until {waited.until[:10]}" if waited.outcome == "expired" else "everybody agreed"


def join_names(people: Iterable[str], names: Mapping[str, str] | None = None) -> str:
    """As in `Ana, Ben and Chi`. `names`: member id -> name."""
    shown = [(names or {}).get(who, who) for who in people]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
