"""Events about consent, and about the records from before the ledger."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.governance.consent_record import Consent
from audiotune.governance.ledger.event_kind import EventKind, refuse_late_import
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.withdrawal_record import ALL_RECORDINGS, narrow_consent

MOST_RECORDS = 1000  # of consent in one event


class EarlierRecordsTaken(FrozenModel):
    """What was there before the ledger is in it now, and the ledger alone counts."""


class ConsentsRecorded(FrozenModel):
    """Records of consent: each is from now on the one that counts for its recording and contributor.

    Attributes:
        decided: an owner's decision who is heard in a recording, so nobody's own word.
    """

    records: tuple[Consent, ...] = Field(min_length=1, max_length=MOST_RECORDS)
    decided: bool = False


def _put_in_force(state: GovernanceState, event: LedgerEvent, body: EarlierRecordsTaken) -> None:
    refuse_late_import(state, event)
    state.in_force = True


def _record_consents(state: GovernanceState, event: LedgerEvent, body: ConsentsRecorded) -> None:
    refuse_late_import(state, event)
    for record in body.records:
        people = state.consents.get(record.recording, {})
        is_own = event.by == record.contributor and not body.decided
        earlier = people.get(record.contributor)
        if earlier and earlier.excepted and not record.excepted:  # parts that were left out stay out
            record = record.model_copy(update={"excepted": earlier.excepted})
        state.consents[record.recording] = {**people, record.contributor: respect_withdrawals(state, event, record, is_own)}


def respect_withdrawals(state: GovernanceState, event: LedgerEvent, record: Consent, is_own: bool) -> Consent:
    """A record as it counts: what a member took back, only their own word gives again."""
    taken = state.taken_back.get(record.contributor, {})
    if is_own:
        if record.recording in taken:
            rest = {recording: uses for recording, uses in taken.items() if recording != record.recording}
            state.taken_back[record.contributor] = rest
        return record
    uses = (*taken.get(record.recording, ()), *taken.get(ALL_RECORDINGS, ()))
    at = parse_event_time(event.time)
    return narrow_consent(record, uses, at, at, f"{record.basis}, without what they took back")


KINDS = {
    "earlier_records_taken": EventKind(EarlierRecordsTaken, _put_in_force),
    "consents_recorded": EventKind(ConsentsRecorded, _record_consents),
}
