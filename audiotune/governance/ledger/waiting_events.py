"""Events about recordings that wait for somebody's word: somebody is asked, answers, the waiting ends, the bytes are deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import MOST_CONTRIBUTORS, Digest
from audiotune.errors import AgreementError, ConsentError
from audiotune.governance.agreement_record import Use
from audiotune.governance.consent_record import Consent
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.record_events import respect_withdrawals
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import ANSWERED, NAMED, SOUNDS_ALIKE, WaitingRecording, describe_end, is_unanswered
from audiotune.store.layout import WAITING

_PATTERN = "^[0-9a-f]{64}$"


class RecordingWaits(FrozenModel):
    """People are asked about a recording.

    Attributes:
        sound: store key of its bytes; empty where they wait already, or the recording was taken in earlier.
        uploaded_by: empty for an operator or a program.
        records: of people who are named and had none.
    """

    recording: Digest = Field(pattern=_PATTERN)
    sound: str = Field(default="", max_length=300)
    uploaded_by: str = Field(default="", max_length=64)
    records: tuple[Consent, ...] = Field(default=(), max_length=MOST_CONTRIBUTORS)


class RecordingAnswered(FrozenModel):
    """What a member who was asked agrees to; nothing is a no.

    Attributes:
        text: SHA-256 of the words that the member saw.
    """

    recording: Digest = Field(pattern=_PATTERN)
    uses: tuple[Use, ...] = Field(default=(), max_length=8)
    until: AwareDatetime | None = None
    text: Digest = Field(default="", pattern="^([0-9a-f]{64})?$")


class WaitingEnded(FrozenModel):
    """A recording waits no more: it was taken in, or is to be deleted. `people`: who said no, left, or did not answer."""

    recording: Digest
    outcome: Literal["taken_in", "refused", "left", "expired"]
    people: tuple[str, ...] = Field(default=(), max_length=MOST_CONTRIBUTORS)


class WaitingErased(FrozenModel):
    """The bytes that waited are gone. `versions`: how many objects and old versions of objects were deleted."""

    recording: Digest
    versions: int = Field(ge=0)


def _begin_waiting(state: GovernanceState, event: LedgerEvent, body: RecordingWaits) -> None:
    if state.agreement is None:
        raise AgreementError("the store holds no agreement", cure="make the agreement first")
    strange = [record for record in body.records if record.recording != body.recording]
    if strange or (body.sound and not body.sound.startswith(WAITING.folder(body.recording))):
        raise ConsentError("the event mixes recordings", where=body.recording, cure="name one recording")
    people = state.consents.get(body.recording, {})
    # Whoever has said something is not asked again; who was only named for a refused file is.
    new = {one.contributor: one for one in body.records if (old := people.get(one.contributor)) is None or _is_only_named(old)}
    new = {who: respect_withdrawals(state, event, record, is_own=False) for who, record in new.items()}
    state.consents[body.recording] = {**people, **new}
    known = state.waiting.get(body.recording)
    if known is not None and known.outcome:
        known = None
    if known is None and not body.sound:
        return  # it was taken in earlier, and has no end
    days = timedelta(days=state.agreement.answer_within_days)
    asks = known is None or any(is_unanswered(record) for record in new.values())
    until = f"{parse_event_time(event.time) + days:%Y-%m-%dT%H:%M:%S.%fZ}" if asks else ""
    uploaders = dict.fromkeys((*(known.uploaded_by if known else ()), *([body.uploaded_by] if body.uploaded_by else ())))
    state.waiting[body.recording] = WaitingRecording(
        recording=body.recording,
        sound=known.sound if known else body.sound,
        uploaded_by=tuple(uploaders),
        since=known.since if known else event.time,
        until=max(until, known.until if known else ""),
    )


def _is_only_named(record: Consent) -> bool:
    return record.basis.startswith(NAMED)


def _answer(state: GovernanceState, event: LedgerEvent, body: RecordingAnswered) -> None:
    member = require_active_member(state, event.by)
    assert state.agreement is not None
    record = state.consents.get(body.recording, {}).get(member)
    if record is None or not record.heard:
        raise ConsentError(f"{member} is not named in this recording", cure="an owner decides who is heard in it")
    waited = state.waiting.get(body.recording)
    if waited is not None and waited.outcome not in ("", "taken_in"):
        what = f"this recording was deleted on {waited.ended[:10]}: {describe_end(waited)}"
        raise ConsentError(what, cure="bring it in again when everybody in it agrees")
    if not is_unanswered(record) and not record.basis.startswith(SOUNDS_ALIKE):
        raise ConsentError(
            f"{member} has answered for this recording already",
            cure="change your consent under My recordings, or with `audiotune consent`",
        )
    answer = Consent(
        recording=body.recording,
        contributor=member,
        uses=body.uses,
        basis=f"{ANSWERED} {event.number}",
        agreement=state.agreement.digest,
        time=parse_event_time(event.time),
        follows=record.follows,
        until=body.until,
        text=body.text,
    )
    answer = respect_withdrawals(state, event, answer, is_own=True)
    state.consents[body.recording] = {**state.consents[body.recording], member: answer}


def _end_waiting(state: GovernanceState, event: LedgerEvent, body: WaitingEnded) -> None:
    waits = _require_waiting(state, body.recording)
    if waits.outcome:
        raise ConsentError("this recording does not wait any more", where=body.recording, cure="nothing is left to do")
    if body.outcome == "expired" and parse_event_time(event.time) < parse_event_time(waits.until):
        raise ConsentError(f"there is time for an answer until {waits.until}", where=body.recording, cure="wait for it")
    change = {"outcome": body.outcome, "ended": event.time, "ended_by": body.people}
    state.waiting[body.recording] = waits.model_copy(update=change)


def _note_erasure(state: GovernanceState, event: LedgerEvent, body: WaitingErased) -> None:
    waits = _require_waiting(state, body.recording)
    if not waits.outcome or waits.erased:
        what = "was deleted already" if waits.erased else "still waits"
        raise ConsentError(f"this recording {what}", where=body.recording, cure="nothing is left to do")
    state.waiting[body.recording] = waits.model_copy(update={"erased": event.number})


def _require_waiting(state: GovernanceState, recording: Digest) -> WaitingRecording:
    if recording not in state.waiting:
        raise ConsentError("this recording waits for nobody", where=recording[:64], cure="look at the list of those that wait")
    return state.waiting[recording]


KINDS = {
    "recording_waits": EventKind(RecordingWaits, _begin_waiting),
    "recording_answered": EventKind(RecordingAnswered, _answer, "member"),
    "waiting_ended": EventKind(WaitingEnded, _end_waiting),
    "waiting_erased": EventKind(WaitingErased, _note_erasure),
}
