"""Consent: one record for each recording, contributor and moment; append-only, the newest counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement import Agreement, Use
from audiotune.store.layout import CONSENTS
from audiotune.store.port import Store


class Consent(FrozenModel):
    """The uses of one recording that one contributor agrees to.

    Attributes:
        uses: an empty one withdraws everything.
        basis: where the consent comes from, as in "agreement v1, standing consent" or "studio, signed in as ana".
        agreement: digest of the agreement in force.
    """

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
    newest: dict[tuple[Digest, str], Consent] = {}
    for recording in recordings:
        for entry in store.list(CONSENTS.folder(recording)):  # in key order, so in order of time for each contributor
            consent = Consent.model_validate_json(store.get(entry.key))
            newest[recording, consent.contributor] = consent
    return newest


def record_standing_consents(store: Store, agreement: Agreement, recording: Digest, contributors: Iterable[str]) -> list[Consent]:
    """Records the standing consent of members who have no record for this recording yet. Returns the new records."""
    recorded = read_consents(store, [recording])
    added = []
    for contributor in contributors:
        member = agreement.find_member(contributor)
        if member is None or not member.consents_to or (recording, contributor) in recorded:
            continue
        basis = f"agreement version {agreement.version}, standing consent"
        consent = Consent(
            recording=recording, contributor=contributor, uses=member.consents_to, basis=basis, agreement=agreement.digest
        )
        record_consent(store, consent)
        added.append(consent)
    return added
