"""A proof as data: what was looked at, and what anybody can check of it without the group's server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from audiotune.domain.dataset import DatasetRow, LatentRow
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError
from audiotune.governance.ledger.events import compute_event_digest, event_key, is_signature_valid, parse_event
from audiotune.governance.ledger.fold import apply_event
from audiotune.governance.ledger.state import GovernanceState

Outcome = Literal["passed", "failed", "not asked", "not known"]


class ProofCheck(FrozenModel):
    """One check.

    Attributes:
        name: as in `disjoint manifests`.
        words: what was seen, in a sentence.
        figures: what was measured.
    """

    name: str
    outcome: Outcome
    words: str
    figures: dict[str, float] = {}


class WithdrawnContent(FrozenModel):
    """What belongs to the recordings that were taken back: ids, and the store keys of sounds and latents."""

    recordings: tuple[Digest, ...] = ()
    segments: tuple[Digest, ...] = ()
    sounds: tuple[str, ...] = ()
    latents: tuple[str, ...] = ()


class WithdrawalProof(FrozenModel):
    """What was found about a withdrawal and a release that was made without it.

    Attributes:
        event: the withdrawal's event as the ledger has it, canonical JSON.
        service_key: public key of the service that signed the event, 64 hexadecimal digits.
        ledger_number, ledger_head: number and digest of the newest event when the proof was made.
        dataset, latents: the manifests that the release was trained on, as they are stored.
        release: its card.
    """

    format: Literal[1] = 1
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    number: int
    event: str
    service_key: str
    ledger_number: int
    ledger_head: Digest
    withdrawn: WithdrawnContent
    release: Release | None = None
    dataset: str = ""
    latents: str = ""
    checks: tuple[ProofCheck, ...] = ()

    @property
    def has_passed(self) -> bool:
        return all(check.outcome != "failed" for check in self.checks)


def verify_proof(proof: WithdrawalProof, ledger: list[bytes] | None = None) -> list[str]:
    """What is wrong with a proof, in sentences; nothing where everything that can be computed again agrees.

    Args:
        ledger: the events of an exported ledger, one a line; the proof's event and its newest one must be in it.
    """
    return [*_find_event_faults(proof, ledger), *_find_manifest_faults(proof), *_find_failed_checks(proof)]


def find_shared(withdrawn: WithdrawnContent, dataset: bytes, latents: bytes) -> dict[str, set[str]]:
    """What two stored manifests share with what was taken back, by kind. Raises ManifestError: one is damaged."""
    rows = load_manifest(dataset, "datasets", DatasetRow).rows
    encoded = load_manifest(latents, "latents", LatentRow).rows if latents else []
    return {
        "recordings": set(withdrawn.recordings) & {row.segment.recording for row in rows},
        "segments": set(withdrawn.segments) & {row.segment.id for row in rows},
        "sounds": set(withdrawn.sounds) & {row.segment.blob for row in rows},
        "latents": set(withdrawn.latents) & {row.latents for row in encoded},
    }


def _find_event_faults(proof: WithdrawalProof, ledger: list[bytes] | None) -> Iterator[str]:
    try:
        event = parse_event(proof.event.encode(), event_key(proof.number))
        if (event.number, event.kind) != (proof.number, "withdrawal_recorded"):
            yield f"event {event.number} of kind {event.kind} is not withdrawal {proof.number}"
        if not is_signature_valid(event.signatures.service, bytes.fromhex(proof.service_key), event.signed_bytes()):
            yield "the event of the withdrawal is not signed by the service's key that the proof names"
        strange = set(event.body.get("recordings", ())) - set(proof.withdrawn.recordings)
        if strange:
            yield f"{len(strange)} recordings of the withdrawal are not in the proof, as {min(strange)[:12]}"
        if ledger is not None:
            yield from _find_ledger_faults(proof, ledger)
    except (AudioTuneError, ValueError) as e:
        yield f"the event of the withdrawal cannot be read: {e}"


def _find_ledger_faults(proof: WithdrawalProof, ledger: list[bytes]) -> Iterator[str]:
    """Whether the proof's events are in a ledger, and whether its recordings are those that the ledger gives the withdrawal."""
    if len(ledger) < proof.ledger_number or ledger[proof.number - 1 : proof.number] != [proof.event.encode()]:
        yield f"the ledger has another event {proof.number}, or ends before event {proof.ledger_number}"
        return
    if compute_event_digest(ledger[proof.ledger_number - 1]) != proof.ledger_head:
        yield f"event {proof.ledger_number} of the ledger is not the one that the proof saw"
    state = GovernanceState()
    for number, data in enumerate(ledger[: proof.number], 1):
        apply_event(state, parse_event(data, event_key(number)), compute_event_digest(data), event_key(number))
    if state.withdrawals[proof.number].recordings != proof.withdrawn.recordings:
        yield "the recordings in the proof are not those that the ledger gives the withdrawal"


def _find_manifest_faults(proof: WithdrawalProof) -> Iterator[str]:
    if proof.release is None:
        return
    try:
        dataset = load_manifest(proof.dataset.encode(), "datasets", DatasetRow)
        if dataset.digest != proof.release.lineage.dataset:
            yield "the dataset in the proof is not the one that the release's card names"
        for kind, hashes in find_shared(proof.withdrawn, proof.dataset.encode(), proof.latents.encode()).items():
            if hashes:
                yield f"the release was trained on {len(hashes)} {kind} that were taken back, as {min(hashes)[-76:]}"
        if proof.latents:
            latents = load_manifest(proof.latents.encode(), "latents", LatentRow)
            if latents.meta.get("dataset") != dataset.digest:
                yield "the latents in the proof were made of another dataset"
    except AudioTuneError as e:
        yield f"a manifest in the proof cannot be read: {e}"


def _find_failed_checks(proof: WithdrawalProof) -> Iterator[str]:
    yield from (f"{check.name}: {check.words}" for check in proof.checks if check.outcome == "failed")
