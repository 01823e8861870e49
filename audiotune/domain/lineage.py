"""Which dataset weights were trained on, and whether a release says so.

The store keeps the answer under the digests of the weights. It is written once, by the step that makes them, and a second write
is refused. Recordings and people come from that dataset's manifest. A registry may say anything about a release: what differs from
the manifest is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import Field, ValidationError

from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.manifest import Manifest, load_manifest, manifest_key
from audiotune.domain.recording import Digest
from audiotune.domain.release import Lineage, Release, WeightsPointer
from audiotune.errors import AlreadyInStoreError, LineageError, ManifestError, NotInStoreError
from audiotune.store.layout import LINEAGES, RELEASES
from audiotune.store.port import Store, compute_digest, digest_from_key

_WHOLE = "whole"  # in place of an adapter's digest


class TrainedWeights(FrozenModel):
    """What the store keeps for weights: their digests, and the digest of the dataset that they were trained on."""

    weights: Digest
    adapter: str = ""
    dataset: Digest
    origin: ForeignOrigin | None = Field(default=None, exclude_if=lambda origin: origin is None)


def bind_weights(store: Store, pointer: WeightsPointer) -> None:
    """Writes down which dataset weights were trained on, once; for an adapter of others, who made it.

    Raises LineageError: the store names another dataset or maker for them already, or they name none.
    """
    if not pointer.dataset and not (pointer.adapter and pointer.origin):
        raise LineageError("these weights name no dataset", where=pointer.weights, cure="unwrap a checkpoint of finetune")
    kept = TrainedWeights(
        weights=pointer.weights_digest, adapter=pointer.adapter_digest, dataset=pointer.dataset, origin=pointer.origin
    )
    if find_bound_dataset(store, pointer) in (None, pointer.dataset):
        with contextlib.suppress(AlreadyInStoreError):
            store.put(_binding_key(pointer), f"{kept.model_dump_json()}\n".encode(), only_new=True)
    known = find_bound_dataset(store, pointer)
    if known != pointer.dataset:
        raise LineageError(
            f"these weights were trained on dataset {known or 'of others'}, not on {pointer.dataset or 'one of others'}",
            where=_binding_key(pointer),
            cure="pass the dataset of their training; what the store says about weights is not changed",
        )


def find_binding(store: Store, pointer: WeightsPointer) -> TrainedWeights | None:
    """What the store says of weights, or None where it does not say.

    Raises LineageError: the entry cannot be read.
    """
    key = _binding_key(pointer)
    try:
        bound = _read_entry(store, key)
    except NotInStoreError:
        return None
    if (bound.weights, bound.adapter) != (pointer.weights_digest, pointer.adapter_digest):
        raise LineageError("the entry is of other weights", where=key, cure="restore it from a backup")
    return bound


def find_bound_dataset(store: Store, pointer: WeightsPointer) -> Digest | None:
    """The digest of the dataset that weights were trained on; empty for those of others, None where the store does not say.

    Weights of 0.2 and older have no entry. For them the cards count that `register` wrote into the store, where nobody writes who
    reaches only the registry. Raises LineageError: an entry cannot be read, or the cards contradict each other.
    """
    bound = find_binding(store, pointer)
    return _find_dataset_on_cards(store, pointer) if bound is None else bound.dataset


def find_datasets_of_adapter(store: Store, adapter: Digest) -> tuple[Digest, ...]:
    """The datasets that an adapter was trained on, by the SHA-256 of its file; empty where the store knows of none.

    Raises LineageError: an entry cannot be read.
    """
    keys = [entry.key for entry in store.list(LINEAGES.path) if entry.key.endswith(f"/{adapter}.json")]
    found = {_read_entry(store, key).dataset for key in keys}
    return tuple(sorted(filter(None, found)))


def require_lineage(store: Store, release: Release) -> None:
    """Raises LineageError unless a release names exactly the recordings, people and segments of the dataset it was trained on."""
    where = f"{release.name} version {release.version}"
    dataset = find_bound_dataset(store, release.weights)
    if dataset is None:
        raise LineageError(
            "the store does not know what these weights were trained on",
            where=where,
            cure="run unwrap and register again for their training; weights from elsewhere are not served",
        )
    bound = find_binding(store, release.weights)
    if bound is not None and bound.origin != release.weights.origin:
        what = "the registry names another maker of these weights than the store"
        raise LineageError(what, where=where, cure="register the release again, and look who else can write to MLflow")
    if dataset:
        expected = build_lineage(read_dataset(store, dataset), release.weights, release.lineage.agreement)
    else:
        expected = build_foreign_lineage(release.weights, release.lineage.agreement)
    if release.weights.dataset != dataset or _compare(release.lineage) != _compare(expected):
        raise LineageError(
            f"the registry names another lineage than that of dataset {dataset[:12]}, which these weights were trained on",
            where=where,
            cure="register the release again, and look who else can write to MLflow",
        )


class LineageChecker:
    """Asks the store once for each release: neither its entries nor manifests ever change, and a large one takes a second to read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found_true: set[Digest] = set()

    def require(self, release: Release) -> None:
        """As `require_lineage`. Only what was found true is remembered."""
        as_read = compute_digest(release.model_dump_json().encode())
        if as_read not in self._found_true:
            require_lineage(self._store, release)
            self._found_true.add(as_read)


def build_lineage(dataset: Manifest[DatasetRow], pointer: WeightsPointer, agreement: Digest) -> Lineage:
    """The lineage of weights that were trained on a dataset. Raises LineageError when the dataset names no recording."""
    recordings = contributors_by_recording(dataset)
    if not recordings:
        raise LineageError("the dataset names no recording", where=dataset.key, cure="run annotate_merge again")
    return Lineage(
        dataset=dataset.digest,
        segments=tuple(sorted({row.segment.id for row in dataset.rows})),
        recordings=recordings,
        annotators=tuple(sorted({member for row in dataset.rows for member in row.caption.annotators})),
        base=pointer.base,
        base_digest=pointer.base_digest,
        agreement=agreement,
        origin=pointer.origin,
    )


def build_foreign_lineage(pointer: WeightsPointer, agreement: Digest) -> Lineage:
    """The lineage of an adapter that others trained on their own sounds: nobody of the group is heard in it.

    Raises LineageError: it does not say whose it is.
    """
    if pointer.origin is None or not pointer.adapter:
        raise LineageError(
            "these weights name neither a dataset nor their maker", where=pointer.weights, cure="import them again"
        )
    facts = {"base": pointer.base, "base_digest": pointer.base_digest, "agreement": agreement, "origin": pointer.origin}
    return Lineage.model_validate({"dataset": "", "segments": (), "recordings": {}, **facts})


def read_dataset(store: Store, digest: Digest) -> Manifest[DatasetRow]:
    """The manifest of a dataset. Raises LineageError: it is gone, or is not what its digest promises."""
    key = manifest_key("datasets", digest)
    cure = "restore it from a backup"
    try:
        data = store.get(key)
        dataset = load_manifest(data, "datasets", DatasetRow)
    except NotInStoreError as e:
        raise LineageError("the manifest of the dataset is gone", where=key, cure=cure) from e
    except ManifestError as e:
        raise LineageError(e.what, where=key, cure=cure) from e
    if compute_digest(data.partition(b"\n")[2]) != digest:
        raise LineageError("the manifest is of another dataset", where=key, cure=cure)
    return dataset


def _compare(lineage: Lineage) -> Lineage:
    """A lineage as it is compared: the order of names says nothing."""
    recordings = {recording: tuple(sorted(set(people))) for recording, people in lineage.recordings.items()}
    segments, annotators = tuple(sorted(lineage.segments)), tuple(sorted(lineage.annotators))
    return lineage.model_copy(update={"recordings": recordings, "segments": segments, "annotators": annotators})


def _read_entry(store: Store, key: str) -> TrainedWeights:
    try:
        return TrainedWeights.model_validate_json(store.get(key))
    except ValidationError as e:
        raise LineageError(f"the entry is damaged: {e.errors()[0]['msg']}", where=key, cure="restore it from a backup") from e


def _binding_key(pointer: WeightsPointer) -> str:
    """Adapters of one base share its weights, so each adapter has an entry of its own."""
    if digest_from_key(pointer.weights) != pointer.weights_digest:
        what = "the weights' key does not carry their digest"
        raise LineageError(what, where=pointer.weights[:200], cure="register the release again")
    if pointer.adapter and not pointer.adapter_digest:
        raise LineageError("the adapter's key does not carry its digest", where=pointer.adapter[:200], cure="run unwrap again")
    return LINEAGES.key(pointer.weights_digest, f"{pointer.adapter_digest or _WHOLE}.json")


def _find_dataset_on_cards(store: Store, pointer: WeightsPointer) -> Digest | None:
    named = {card.lineage.dataset for card in _read_cards(store, pointer)}
    if len(named) > 1:
        raise LineageError(
            f"the store's cards name several datasets for these weights: {', '.join(sorted(named))}",
            where=pointer.weights,
            cure="restore the cards below manifests/releases/ from a backup",
        )
    return named.pop() if named else None


def _read_cards(store: Store, pointer: WeightsPointer) -> Iterator[Release]:
    """The cards of releases with these weights."""
    for entry in store.list(RELEASES.path):
        if entry.key.endswith(f"-{pointer.weights_digest[:16]}.json"):
            with contextlib.suppress(ValidationError, NotInStoreError):  # of another version, or replaced at this moment
                card = Release.model_validate_json(store.get(entry.key))
                if card.weights.identity == pointer.identity:
                    yield card
