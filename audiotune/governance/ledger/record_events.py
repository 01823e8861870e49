"""Events about the agreement and about consent."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, GovernanceError
from audiotune.governance.agreement_record import Agreement
from audiotune.governance.consent_record import Consent
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.withdrawal_record import ALL_RECORDINGS, narrow_consent

MOST_RECORDS = 1000  # of consent in one event


class AgreementPublished(FrozenModel):
    """A version of the agreement takes force."""

    agreement: Agreement


class AgreementUnreadable(FrozenModel):
    """The newest earlier version of the agreement cannot be read: nobody knows what is allowed until a later one is published."""

    version: int = Field(ge=1)


class EarlierRecordsTaken(FrozenModel):
    """What was there before the ledger is in it now, and the ledger alone counts."""


class AgreementSigned(FrozenModel):
    """A member has read the agreement in force and signs it."""

    agreement: Digest


class ConsentsRecorded(FrozenModel):
    """Records of consent: each is from now on the one that counts for its recording and contributor.

    Attributes:
        decided: an owner's decision who is heard in a recording, so nobody's own word.
    """

    records: tuple[Consent, ...] = Field(min_length=1, max_length=MOST_RECORDS)
    decided: bool = False


def _publish_agreement(state: GovernanceState, event: LedgerEvent, body: AgreementPublished) -> None:
    _refuse_late_import(state, event)
    newest = state.unreadable_agreement or (state.agreement.version if state.agreement else 0)
    if newest >= body.agreement.version:
        raise AgreementError(
            f"version {newest} of the agreement is in force and differs", cure=f"set version = {newest + 1} in yours"
        )
    state.agreement, state.unreadable_agreement = body.agreement, 0
    state.agreements[body.agreement.digest] = body.agreement.version


def _note_unreadable(state: GovernanceState, event: LedgerEvent, body: AgreementUnreadable) -> None:
    _refuse_late_import(state, event)
    state.agreement, state.unreadable_agreement = None, body.version


def _put_in_force(state: GovernanceState, event: LedgerEvent, body: EarlierRecordsTaken) -> None:
    _refuse_late_import(state, event)
    state.in_force = True


def _refuse_late_import(state: GovernanceState, event: LedgerEvent) -> None:
    """Of two programs that open a ledger at once, the slower one must not put earlier records behind later ones."""
    if event.via == "import" and state.in_force:
        raise GovernanceError("earlier records were taken over already")


def _sign_agreement(state: GovernanceState, event: LedgerEvent, body: AgreementSigned) -> None:
    member = require_active_member(state, event.by)
    if state.agreement is None or state.agreement.digest != body.agreement:
        raise AgreementError("another version of the agreement is in force by now", cure="read it and sign that one")
    state.signatures[body.agreement] = {member: event.number, **state.signatures.get(body.agreement, {})}


def _record_consents(state: GovernanceState, event: LedgerEvent, body: ConsentsRecorded) -> None:
    _refuse_late_import(state, event)
    for record in body.records:
        people = state.consents.get(record.recording, {})
        is_own = event.by == record.contributor and not body.decided
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
    "agreement_published": EventKind(AgreementPublished, _publish_agreement),
    "agreement_unreadable": EventKind(AgreementUnreadable, _note_unreadable),
    "earlier_records_taken": EventKind(EarlierRecordsTaken, _put_in_force),
    "agreement_signed": EventKind(AgreementSigned, _sign_agreement, "member"),
    "consents_recorded": EventKind(ConsentsRecorded, _record_consents),
}
