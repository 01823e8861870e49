"""The event by which a member leaves parts of a recording out of everything that they agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field, model_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError
from audiotune.governance.consent_record import OWN_WORD, ExceptedPart, RecordingPart
from audiotune.governance.ledger.consent_events import require_known_member
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import is_unanswered

MOST_PARTS = 100


class PartsExcepted(FrozenModel):
    """More parts of a recording to which nothing that its player agreed to applies. `clear`: without those said before."""

    recording: Digest = Field(pattern="^[0-9a-f]{64}$")
    parts: tuple[RecordingPart, ...] = Field(default=(), max_length=MOST_PARTS)
    clear: bool = False

    @model_validator(mode="after")
    def _check_sense(self) -> PartsExcepted:
        if not (self.parts or self.clear):
            raise ValueError("it names no part")
        return self


def add_part(parts: Sequence[ExceptedPart], new: ExceptedPart) -> tuple[ExceptedPart, ...]:
    """The parts with one more, in order; those that touch are joined, unless releases may hold them until different days."""
    start_s, end_s, others = new.start_s, new.end_s, []
    for part in parts:
        if part.ends == new.ends and part.start_s <= end_s and part.end_s >= start_s:
            start_s, end_s = min(start_s, part.start_s), max(end_s, part.end_s)
        else:
            others.append(part)
    joined = new.model_copy(update={"start_s": start_s, "end_s": end_s})
    return tuple(sorted([*others, joined], key=lambda part: part.start_s))


def _except_parts(state: GovernanceState, event: LedgerEvent, body: PartsExcepted) -> None:
    member = require_known_member(state, event.by)
    people = state.consents.get(body.recording, {})
    record = people.get(member)
    if record is None or not record.heard:
        what = f"{member} is not named as a player of recording {body.recording[:12]}"
        raise ConsentError(what, cure="an owner decides who is heard in it")
    if is_unanswered(record):
        what = f"{member} was asked whether recording {body.recording[:12]} may be kept, and has not answered yet"
        raise ConsentError(what, cure="answer first")
    at, grace = parse_event_time(event.time), timedelta(days=state.agreement.withdrawal_grace_days if state.agreement else 0)
    parts = () if body.clear else record.excepted
    for part in body.parts:
        since = {"since": at, "ends": at + grace if grace else None}
        parts = add_part(parts, ExceptedPart.model_validate({**part.model_dump(), **since}))
    if len(parts) > MOST_PARTS:
        raise ConsentError(f"{len(parts)} parts are too many, {MOST_PARTS} are the most", cure="leave longer parts out")
    said = {"basis": f"{OWN_WORD} {event.number}", "time": at}
    state.consents[body.recording] = {**people, member: record.model_copy(update={"excepted": parts, **said})}


KINDS = {"parts_excepted": EventKind(PartsExcepted, _except_parts, "member")}
