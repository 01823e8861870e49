"""What was made of recordings: their segments, the datasets and releases that hold them, the sounds made with those.

Computed of manifests, lineages on releases' cards, and the list of sounds by their weights. Weights that nobody registered are not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast

from pydantic import ValidationError

from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import fetch_manifest, list_manifests
from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.domain.segment import Segment
from audiotune.errors import NotInStoreError
from audiotune.store.layout import MADE_WITH, RELEASES
from audiotune.store.port import Store, StoreEntry

_Found = TypeVar("_Found")
_READS_AT_ONCE = 8


@dataclass(frozen=True)
class NumberedDataset:
    """A dataset. `number`: 1 for the store's first one."""

    number: int
    digest: Digest


@dataclass(frozen=True)
class Dependents:
    """What hangs on recordings.

    Attributes:
        segments: ids, also of earlier cuts.
        releases: whole models, the oldest first.
        adapters: releases that are an adapter beside its base.
        sounds: made with one of these releases or adapters.
    """

    segments: tuple[Digest, ...] = ()
    datasets: tuple[NumberedDataset, ...] = ()
    releases: tuple[Release, ...] = ()
    adapters: tuple[Release, ...] = ()
    sounds: tuple[Digest, ...] = ()


class DependentsReader:
    """Answers for one store. What is written once is read once; one object may serve many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, datetime], object] = {}
        self._lock = threading.Lock()

    def list_dependents(self, recordings: Collection[Digest]) -> Dependents:
        """What hangs on any of these recordings, as the store is now. Raises ManifestError, StoreError."""
        return self.read_index().list_dependents(recordings)

    def read_index(self) -> DependentsIndex:
        """For questions about many recordings. Raises ManifestError: a manifest is damaged."""
        datasets = self._read_all(list_manifests(self._store, "datasets"), _read_dataset)
        cards = self._read_all(self._store.list(RELEASES.path), _read_card)
        return DependentsIndex(
            _join_segments(self._read_all(list_manifests(self._store, "segments"), _read_segments)),
            [(NumberedDataset(number, digest), held) for number, (digest, held) in enumerate(datasets, 1)],
            sorted((card for card in cards if card), key=lambda card: card.made),
            _list_makers(self._store),
        )

    def _read_all(self, entries: Iterable[StoreEntry], read: Callable[[Store, str], _Found]) -> list[_Found]:
        """Several at once: a bucket takes some milliseconds for each object, and there may be thousands of sounds."""
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            return list(pool.map(lambda entry: self._read_once(entry, read), entries))

    def _read_once(self, entry: StoreEntry, read: Callable[[Store, str], _Found]) -> _Found:
        at = entry.key, entry.modified
        with self._lock:
            if at in self._read:
                return cast("_Found", self._read[at])
        found = read(self._store, entry.key)
        with self._lock:
            self._read[at] = found
        return found


class DependentsIndex:
    """What was read of a store at one moment.

    Args:
        segments: recording -> ids of its segments.
        datasets: each with the recordings that it holds.
        by_maker: weights or adapter -> the sounds that were made with it.
    """

    def __init__(
        self,
        segments: dict[Digest, frozenset[Digest]],
        datasets: list[tuple[NumberedDataset, frozenset[Digest]]],
        cards: list[Release],
        by_maker: dict[Digest, list[Digest]],
    ) -> None:
        self._segments, self._datasets, self._cards, self._by_maker = segments, datasets, cards, by_maker

    def list_dependents(self, recordings: Collection[Digest]) -> Dependents:
        wanted = set(recordings)
        datasets = tuple(dataset for dataset, held in self._datasets if wanted & held)
        digests = {dataset.digest for dataset in datasets}
        cards = [card for card in self._cards if card.lineage.dataset in digests or wanted & card.lineage.recordings.keys()]
        return Dependents(
            segments=tuple(sorted(id for recording in wanted for id in self._segments.get(recording, ()))),
            datasets=datasets,
            releases=tuple(card for card in cards if not card.weights.adapter),
            adapters=tuple(card for card in cards if card.weights.adapter),
            sounds=self._list_sounds(cards),
        )

    def _list_sounds(self, cards: Iterable[Release]) -> tuple[Digest, ...]:
        """An adapter's sounds are those that it was added to: its base's weights hold nothing of its dataset."""
        makers = {card.weights.adapter_digest or card.digest for card in cards}
        return tuple(sorted({sound for maker in makers for sound in self._by_maker.get(maker, ())}))


def list_dependents(store: Store, recordings: Collection[Digest]) -> Dependents:
    """What hangs on any of these recordings. Who asks often keeps a `DependentsReader`. Raises ManifestError, StoreError."""
    return DependentsReader(store).list_dependents(recordings)


def _read_segments(store: Store, key: str) -> dict[Digest, frozenset[Digest]]:
    found: dict[Digest, set[Digest]] = {}
    for row in fetch_manifest(store, key, "segments", Segment).rows:
        found.setdefault(row.recording, set()).add(row.id)
    return {recording: frozenset(ids) for recording, ids in found.items()}


def _join_segments(manifests: Iterable[dict[Digest, frozenset[Digest]]]) -> dict[Digest, frozenset[Digest]]:
    joined: dict[Digest, frozenset[Digest]] = {}
    for manifest in manifests:
        for recording, ids in manifest.items():
            joined[recording] = joined.get(recording, frozenset()) | ids
    return joined


def _read_dataset(store: Store, key: str) -> tuple[Digest, frozenset[Digest]]:
    """(digest, the recordings that it holds)"""
    dataset = fetch_manifest(store, key, "datasets", DatasetRow)
    return dataset.digest, frozenset(row.segment.recording for row in dataset.rows)


def _read_card(store: Store, key: str) -> Release | None:
    """None for a record of another format, as the studio's list of releases does."""
    try:
        return Release.model_validate_json(store.get(key))
    except (ValidationError, NotInStoreError):
        return None


def _list_makers(store: Store) -> dict[Digest, list[Digest]]:
    """Weights or adapter -> the sounds that were made with it."""
    found: dict[Digest, list[Digest]] = {}
    for entry in store.list(MADE_WITH.path):
        maker, _, sound = MADE_WITH.rest_of(entry.key).partition("/")
        if sound:
            found.setdefault(maker, []).append(sound)
    return found
