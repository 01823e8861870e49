"""The port by which agreements and consents are written: into the store, or by the governance service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from audiotune.domain.recording import Digest
from audiotune.governance.agreement import Agreement, publish_agreement
from audiotune.governance.agreement_record import ProposalKind
from audiotune.governance.consent import Consent, record_standing_consents
from audiotune.governance.decisions import close_decided_proposals, request_decision
from audiotune.governance.ledger.erasure_events import ErasureDone
from audiotune.governance.ledger.event_draft import EventDraft, dump_body
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.proposal import Proposal
from audiotune.governance.service_client import GovernanceServiceClient, find_service
from audiotune.governance.waiting import hold_recording
from audiotune.governance.waiting_upkeep import UpkeepReport, end_due_waiting
from audiotune.store.port import Store

Likenesses = Mapping[Digest, Iterable[str]]  # recordings that sound the same, and whom their manifests name


class GovernanceWriter(Protocol):
    """What ingest and the erasure write."""

    def publish_agreement(self, agreement: Agreement) -> str:
        """As `agreement.publish_agreement`. The service asks for an owner where another version is in force."""
        ...

    def record_standing_consents(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sounds_like: Likenesses | None = None
    ) -> list[Consent]:
        """As `consent.record_standing_consents`. Raises AgreementError where this agreement is no longer in force."""
        ...

    def hold_recording(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sound: str = "", uploaded_by: str = ""
    ) -> tuple[str, ...]:
        """As `waiting.hold_recording`."""
        ...

    def end_due_waiting(self) -> UpkeepReport:
        """As `waiting_upkeep.end_due_waiting`; before, closes the proposals whose time is over."""
        ...

    def request_decision(self, kind: ProposalKind, title: str, text: str, change: Mapping[str, str]) -> Proposal | None:
        """As `decisions.request_decision`."""
        ...

    def record_erasure(self, done: ErasureDone) -> int:
        """Notes what was erased; the event's number. Raises GovernanceError: nobody asked for it, or it is noted already."""
        ...


class StoreGovernanceWriter:
    """Writes into the store, with the rights of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def publish_agreement(self, agreement: Agreement) -> str:
        return publish_agreement(self._store, agreement)

    def record_standing_consents(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sounds_like: Likenesses | None = None
    ) -> list[Consent]:
        return record_standing_consents(self._store, agreement, recording, contributors, sounds_like)

    def hold_recording(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sound: str = "", uploaded_by: str = ""
    ) -> tuple[str, ...]:
        return hold_recording(self._store, agreement, recording, contributors, sound, uploaded_by)

    def end_due_waiting(self) -> UpkeepReport:
        close_decided_proposals(self._store)
        return end_due_waiting(self._store)

    def request_decision(self, kind: ProposalKind, title: str, text: str, change: Mapping[str, str]) -> Proposal | None:
        return request_decision(self._store, kind, title, text, change)

    def record_erasure(self, done: ErasureDone) -> int:
        event = open_ledger(self._store).append(lambda state: EventDraft("erasure_done", done))
        assert event is not None
        return event.number


class ServiceGovernanceWriter:
    """Asks the governance service."""

    def __init__(self, service: GovernanceServiceClient) -> None:
        self._service = service

    def publish_agreement(self, agreement: Agreement) -> str:
        return str(self._service.call("publish_agreement", agreement=agreement.model_dump(mode="json")))

    def record_standing_consents(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sounds_like: Likenesses | None = None
    ) -> list[Consent]:
        records = self._service.call(
            "record_standing_consents",
            agreement=agreement.digest,
            recording=recording,
            contributors=list(contributors),
            sounds_like={like: list(people) for like, people in (sounds_like or {}).items()},
        )
        return [Consent.model_validate(record) for record in records]

    def hold_recording(
        self, agreement: Agreement, recording: Digest, contributors: Iterable[str], sound: str = "", uploaded_by: str = ""
    ) -> tuple[str, ...]:
        fields = {"recording": recording, "contributors": list(contributors), "sound": sound, "uploaded_by": uploaded_by}
        return tuple(self._service.call("hold_recording", agreement=agreement.digest, **fields))

    def end_due_waiting(self) -> UpkeepReport:
        return UpkeepReport(**self._service.call("end_due_waiting"))

    def request_decision(self, kind: ProposalKind, title: str, text: str, change: Mapping[str, str]) -> Proposal | None:
        found = self._service.call("request_decision", kind=kind, title=title, text=text, change=dict(change))
        return Proposal.model_validate(found) if found else None

    def record_erasure(self, done: ErasureDone) -> int:
        return int(self._service.call("record_erasure", done=dump_body(done)))


def open_governance_writer(store: Store) -> GovernanceWriter:
    """The service that AUDIOTUNE_GOVERNANCE_URL names; the store itself where it is unset."""
    service = find_service()
    return ServiceGovernanceWriter(service) if service else StoreGovernanceWriter(store)
