"""What an erasure deletes, computed of what the store's manifests name; and what it must keep.

A recording in which others are heard is theirs, too: its own bytes go when everybody heard in it has asked for it. What was made of it
(segments, latents, weights) goes at once: without everybody's consent it is of no use to anybody, and can be made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.governance.consent import find_consents, list_heard
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.store.layout import DESCRIPTIONS, INBOX
from audiotune.store.port import blob_key, digest_from_key
from audiotune.withdrawal.store_traces import StoreTraces


class ErasedObject(FrozenModel):
    """A key that is erased. `kind` in words, as in `segments`."""

    kind: str
    key: str


class ErasedVersion(FrozenModel):
    """A release in the registry whose version and files are deleted. `run`: id of its MLflow run, or empty."""

    name: str
    version: str
    digest: Digest
    adapter: str
    run: str


class ErasurePlan(FrozenModel):
    """What is to be erased.

    Attributes:
        objects: keys of the store. What names others comes behind what it names, so that a plan can be made again after a crash.
        versions: in the registry.
        runs: of trainings, also of those of which nothing was registered: their files in MLflow hold recordings beside demos.
        joint: recordings whose own bytes stay, because others are heard in them who have not asked for their erasure.
        shared: keys that stay, because something that stays has the same bytes.
    """

    objects: tuple[ErasedObject, ...] = ()
    versions: tuple[ErasedVersion, ...] = ()
    runs: tuple[str, ...] = ()
    joint: tuple[Digest, ...] = ()
    shared: tuple[str, ...] = ()


class ErasureCounts(FrozenModel):
    """How many objects of each kind are erased, how many releases in the registry, and what stays."""

    objects: dict[str, int] = {}
    versions: int = 0
    joint: int = 0
    shared: int = 0


def count_plan(plan: ErasurePlan) -> ErasureCounts:
    return ErasureCounts(
        objects=dict(Counter(one.kind for one in plan.objects)),
        versions=len(plan.versions),
        joint=len(plan.joint),
        shared=len(plan.shared),
    )


def plan_erasure(traces: StoreTraces, state: GovernanceState, withdrawal: Withdrawal) -> ErasurePlan:
    """The plan of a withdrawal, as its member chose. Nothing where they chose none."""
    if withdrawal.erase == "none":
        return ErasurePlan()
    everything = withdrawal.erase == "everything_derived"
    gone = _list_taken(state, withdrawal)
    joint = _list_joint(traces, state, withdrawal.member, gone)
    scope = _ErasureScope(traces, gone - joint, gone if everything else set())
    named, needed = dict(scope.list_named()), set(scope.list_needed())
    objects = [ErasedObject(kind=kind, key=key) for key, kind in named.items() if key not in needed]
    objects += _list_start_sounds(traces, {one.key for one in objects})
    return ErasurePlan(
        objects=tuple(sorted(objects, key=lambda one: digest_from_key(one.key) is None)),
        versions=tuple(map(_describe_version, scope.tainted_cards)),
        runs=tuple(sorted(scope.list_runs())),
        joint=tuple(sorted(joint)),
        shared=tuple(sorted(named.keys() & needed)),
    )


def _list_start_sounds(traces: StoreTraces, gone: set[str]) -> Iterator[ErasedObject]:
    """What members sent to jobs to start from, where its bytes are those of something that goes; the whole job goes with it.

    Args:
        gone: keys that are erased.
    """
    digests = {digest_from_key(key) for key in gone}
    for folder, digest in traces.start_sounds.items():
        if digest in digests:
            yield from (ErasedObject(kind="jobs with a start sound", key=entry.key) for entry in traces.store.list(folder))


def _list_taken(state: GovernanceState, withdrawal: Withdrawal) -> set[Digest]:
    """Its recordings, without those that the member has given again since."""
    taken = state.taken_back.get(withdrawal.member, {})
    return {recording for recording in withdrawal.recordings if "store" in taken.get(recording, ())}


def _list_joint(traces: StoreTraces, state: GovernanceState, member: str, recordings: set[Digest]) -> set[Digest]:
    """Recordings in which somebody else is heard who has not asked for their erasure."""
    named: dict[Digest, dict[str, None]] = {recording: {} for recording in recordings}
    for row in traces.recordings:
        if row.id in named:
            named[row.id].update(dict.fromkeys(row.contributors))
    heard = list_heard(find_consents(state, named), named)
    asked = {member: set(recordings)}
    for one in state.withdrawals.values():
        if one.erase != "none":
            asked.setdefault(one.member, set()).update(_list_taken(state, one))
    return {recording for recording, people in heard.items() if any(recording not in asked.get(person, ()) for person in people)}


@dataclass(frozen=True)
class _ErasureScope:
    """What an erasure is about.

    Attributes:
        own: recordings whose own bytes go.
        derived: recordings of which everything that was made goes.
    """

    traces: StoreTraces
    own: set[Digest]
    derived: set[Digest]

    @cached_property
    def datasets(self) -> set[Digest]:
        """The datasets that hold a segment of them."""
        return {
            digest
            for digest, dataset in self.traces.datasets.items()
            if any(row.segment.recording in self.derived for row in dataset.rows)
        }

    @cached_property
    def tainted_cards(self) -> list[Release]:
        return [card for card in self.traces.cards if card.weights.dataset in self.datasets]

    @cached_property
    def identities(self) -> set[str]:
        """The weights that were trained on these datasets, as evaluations name them."""
        trained = (one for one in self.traces.trained.values() if one.dataset in self.datasets)
        return {_identify(one.weights, one.adapter) for one in trained} | {card.weights.identity for card in self.tainted_cards}

    def list_named(self) -> Iterator[tuple[str, str]]:
        """(key, kind) of all that the recordings and their derivatives are stored in."""
        yield from self._list_recordings()
        yield from self._list_segments()
        yield from self._list_weights()
        yield from self._list_evaluations()

    def _list_recordings(self) -> Iterator[tuple[str, str]]:
        traces, blobs = self.traces, {row.blob for row in self.traces.recordings if row.id in self.own}
        files = {file.blob for upload in traces.uploads for file in upload.files if digest_from_key(file.blob) in self.own}
        yield from ((blob, "recordings") for blob in blobs | files)
        for upload in traces.uploads:
            if all(digest_from_key(file.blob) in self.own for file in upload.files):
                yield from ((entry.key, "uploads") for entry in traces.store.list(INBOX.folder(upload.id)))
        facts = self.own & self.derived
        yield from ((row.fingerprint, "fingerprints") for row in traces.recordings if row.id in facts and row.fingerprint)
        for entry in traces.store.list(DESCRIPTIONS.path) if facts else ():
            if entry.key.rpartition("/")[2].removesuffix(".json") in facts:
                yield entry.key, "descriptions"

    def _list_segments(self) -> Iterator[tuple[str, str]]:
        traces = self.traces
        yield from ((row.blob, "segments") for row in traces.segments if row.recording in self.derived)
        latents = {row.latents for row in traces.latents if row.recording in self.derived}
        yield from ((key, "latents") for key in latents)
        yield from ((cut.key, "lists of segments") for cut in traces.cuts if cut.recording in self.derived)
        gone = latents - {row.latents for row in traces.latents if row.recording not in self.derived}
        yield from ((key, "lists of latents") for key, parts in traces.encodings.items() if parts & gone)

    def _list_weights(self) -> Iterator[tuple[str, str]]:
        for one in self.traces.trained.values():
            if one.dataset in self.datasets:
                yield blob_key(one.adapter or one.weights, ".safetensors"), "weights"
                if one.adapter:  # what learned words change in the base itself
                    yield blob_key(one.weights, ".safetensors"), "weights"
        for card in self.tainted_cards:
            yield from ((key, "weights") for key in (card.weights.weights, card.weights.adapter) if key)
        for key, checkpoint in self.traces.checkpoints.items():
            if checkpoint.dataset in self.datasets:
                yield from ((blob, "checkpoints") for blob in checkpoint.blob_keys)
                yield key, "checkpoints"
                yield checkpoint.report_key, "reports"

    def _list_evaluations(self) -> Iterator[tuple[str, str]]:
        for key, evaluation in self.traces.evaluations.items():
            if _identify(evaluation.weights, evaluation.adapter) in self.identities:
                yield from (
                    ((evaluation.report, "reports"), (key, "evaluations")) if evaluation.report else ((key, "evaluations"),)
                )
        yield from ((card.evaluation.report, "reports") for card in self.tainted_cards if card.evaluation.report)
        for key, (weights, sound) in self.traces.evaluated_sounds.items():
            if weights in self.identities:
                yield sound, "sounds of evaluations"
                yield key, "evaluations"

    def list_runs(self) -> set[str]:
        """The MLflow runs of the trainings on these datasets."""
        return {one.run for one in self.traces.checkpoints.values() if one.dataset in self.datasets and one.run}

    def list_needed(self) -> Iterator[str]:
        """Keys that something names that stays."""
        traces = self.traces
        for row in traces.recordings:
            if row.id not in self.own:
                yield from (row.blob, row.fingerprint)
        yield from (row.blob for row in traces.segments if row.recording not in self.derived)
        yield from (row.latents for row in traces.latents if row.recording not in self.derived)
        for checkpoint in traces.checkpoints.values():
            if checkpoint.dataset not in self.datasets:
                yield from checkpoint.blob_keys
        for one in traces.trained.values():
            if one.dataset not in self.datasets:
                yield from (blob_key(digest, ".safetensors") for digest in (one.weights, one.adapter) if digest)
        for card in traces.cards:
            if card.weights.dataset not in self.datasets:
                yield from card.list_files().values()
        for evaluation in traces.evaluations.values():
            if _identify(evaluation.weights, evaluation.adapter) not in self.identities:
                yield evaluation.report
        yield from (sound for weights, sound in traces.evaluated_sounds.values() if weights not in self.identities)
        yield from traces.base_blobs


def _identify(weights: Digest, adapter: str) -> str:
    return f"{weights}+{adapter}" if adapter else weights


def _describe_version(card: Release) -> ErasedVersion:
    pointer = card.weights
    return ErasedVersion(
        name=card.name, version=card.version, digest=card.digest, adapter=pointer.adapter_digest, run=pointer.run
    )
