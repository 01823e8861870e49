"""The event by which a member leaves parts of a recording out of everything that they agreed to."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError
from audiotune.governance.consent_record import OWN_WORD, ExceptedPart
from audiotune.governance.ledger.consent_events import require_known_member
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import is_unanswered

MOST_PARTS = 100


class PartsExcepted(FrozenModel):
    """The parts of a recording to which nothing that its player agreed to applies; all of them, also those said before."""

    recording: Digest = Field(pattern="^[0-9a-f]{64}$")
    parts: tuple[ExceptedPart, ...] = Field(default=(), max_length=MOST_PARTS)


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
    said = {"basis": f"{OWN_WORD} {event.number}", "time": parse_event_time(event.time)}
    state.consents[body.recording] = {**people, member: record.model_copy(update={"excepted": body.parts, **said})}


KINDS = {"parts_excepted": EventKind(PartsExcepted, _except_parts, "member")}
