"""Consent: one record per recording, contributor and moment; append-only, the newest counts.

The signed, hash-chained ledger takes this room's place behind the same three functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from audiotune.domain.recording import Digest
from audiotune.governance.agreement import Agreement, Use
from audiotune.store.layout import CONSENTS
from audiotune.store.port import Store


class Consent(BaseModel):
    """What one contributor agrees to for one recording.

    Attributes:
        uses: what is agreed to; empty withdraws everything.
        basis: where it comes from, as in "agreement v1, standing consent" or "studio, signed in as ana".
        agreement: digest of the agreement in force.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recording: Digest
    contributor: str
    uses: tuple[Use, ...]
    basis: str
    agreement: Digest
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        return CONSENTS.key(self.recording, self.contributor, f"{self.time.astimezone(UTC):%Y%m%dT%H%M%S%f}.json")


def record_consent(store: Store, consent: Consent) -> str:
    """Appends a consent record and returns its key."""
    store.put(consent.key, consent.model_dump_json().encode(), only_new=True)
    return consent.key


def read_consents(store: Store, recordings: Iterable[Digest]) -> dict[tuple[Digest, str], Consent]:
    """(recording, contributor) -> the newest record."""
    found: dict[tuple[Digest, str], Consent] = {}
    for recording in recordings:
        for entry in store.list(CONSENTS.folder(recording)):  # in key order, so in order of time for each contributor
            consent = Consent.model_validate_json(store.get(entry.key))
            found[recording, consent.contributor] = consent
    return found


def record_standing_consents(store: Store, agreement: Agreement, recording: Digest, contributors: Iterable[str]) -> list[Consent]:
    """Writes the records that members' standing consent gives, for those who have none yet. Returns the new ones."""
    have = read_consents(store, [recording])
    made = []
    for contributor in contributors:
        member = agreement.find_member(contributor)
        if member is None or not member.consents_to or (recording, contributor) in have:
            continue
        basis = f"agreement version {agreement.version}, standing consent"
        consent = Consent(
            recording=recording, contributor=contributor, uses=member.consents_to, basis=basis, agreement=agreement.digest
        )
        record_consent(store, consent)
        made.append(consent)
    return made
