"""Finds recordings that sound the same as others of the source or of the store, and whom those others name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from audiotune.audio.fingerprint import FingerprintIndex, FingerprintWords, Match
from audiotune.domain import manifest as manifests
from audiotune.domain.recording import Digest, Likeness, Recording
from audiotune.errors import NotInStoreError
from audiotune.store import Store
from audiotune.store.layout import RECORDINGS

_NEAREST = 16  # alike recordings that a record follows; more only where they name somebody else: a drum hit is like hundreds
_MANIFEST_KEY = RECORDINGS.compile(r"[0-9a-f]{64}\.jsonl")


@dataclass
class KnownRecordings:
    """What the store's manifests say: the last row of each recording, and everybody whom a row of it names."""

    rows: dict[Digest, Recording] = field(default_factory=dict)
    people: dict[Digest, tuple[str, ...]] = field(default_factory=dict)

    def add(self, row: Recording) -> None:
        self.rows[row.id] = row
        self.people[row.id] = tuple(dict.fromkeys((*self.people.get(row.id, ()), *row.contributors)))


def load_known_recordings(store: Store) -> KnownRecordings:
    """Every recording that was taken in before."""
    known = KnownRecordings()
    for entry in store.list(RECORDINGS.path):
        if _MANIFEST_KEY.fullmatch(entry.key):
            for row in manifests.fetch_manifest(store, entry.key, "recordings", Recording).rows:
                known.add(row)
    return known


def find_likenesses(store: Store, rows: Mapping[Digest, Recording], known: KnownRecordings) -> dict[Digest, tuple[Likeness, ...]]:
    """The likenesses of each new row, with other rows and with known recordings."""
    index: FingerprintIndex[Digest] = FingerprintIndex()
    prints: dict[Digest, FingerprintWords] = {}
    earlier = (known.rows[id] for id in sorted(known.rows.keys() - rows.keys()))
    for row in (*earlier, *rows.values()):
        if not row.fingerprint:
            continue  # rows of other programs have no fingerprint
        try:
            prints[row.id] = np.frombuffer(store.fetch(row.fingerprint).read_bytes(), "<u4").astype(np.uint32)
        except NotInStoreError:
            continue  # withdrawn
        index.add(row.id, prints[row.id])
    return {id: tuple(_list_likenesses(id, index.find(prints[id]))) for id in rows}


def find_earlier_people(
    id: Digest, likenesses: Iterable[Likeness], known: KnownRecordings, before: Mapping[Digest, Recording]
) -> dict[Digest, tuple[str, ...]]:
    """Earlier recordings that sound like a new one, and whom their manifests name. `before`: rows of the same source that came first.

    Nothing for a recording that was taken in before: it was compared then, and what came later does not count against it.
    """
    if id in known.rows:
        return {}
    found: dict[Digest, tuple[str, ...]] = {}
    asked: set[str] = set()
    for other in dict.fromkeys(like.recording for like in likenesses):
        people = (*known.people.get(other, ()), *(before[other].contributors if other in before else ()))
        if people and (len(found) < _NEAREST or not asked.issuperset(people)):
            found[other] = people
            asked.update(people)
    return found


def _list_likenesses(id: Digest, matches: Iterable[tuple[Digest, Match]]) -> Iterable[Likeness]:
    for other, match in matches:
        if other != id:
            yield Likeness(
                recording=other,
                kind="same_sound" if match.is_whole else "overlap",
                bit_error_rate=round(match.bit_error_rate, 4),
                start_s=round(match.start_s, 3),
                other_start_s=round(match.other_start_s, 3),
                duration_s=round(match.duration_s, 3),
            )
