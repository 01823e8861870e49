"""The library: every recording that the store's manifests list, and the segments of those that may be kept. Reads no sound."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime

from audiotune.domain import manifest
from audiotune.domain.recording import Digest, Recording
from audiotune.domain.segment import Segment
from audiotune.errors import GovernanceError
from audiotune.governance import decide_policy, read_consents, read_current_agreement
from audiotune.governance.consent import read_standing
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store.layout import manifest_folder
from audiotune.store.port import Store, StoreEntry

_ASK_S = 60.0


@dataclass(frozen=True)
class Library:
    """All recordings, and their segments, without those of recordings that somebody does not let the group keep.

    A recording that was segmented again shows its newest segments only.

    Attributes:
        brought_in: recording -> when a manifest first named it.
    """

    recordings: dict[Digest, Recording] = field(default_factory=dict)
    segments: dict[Digest, Segment] = field(default_factory=dict)
    brought_in: dict[Digest, datetime] = field(default_factory=dict)

    def list_member_recordings(self, member: str) -> list[Recording]:
        """The recordings that a member is heard in, by name."""
        return sorted((r for r in self.recordings.values() if member in r.contributors), key=lambda r: r.name)


class LibraryCache:
    """Keeps the library in memory. It reads manifests again only when one was added or removed, and asks for consent when there is
    news in the ledger, or a minute has passed: consent may have an end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._seen: tuple[tuple[str, str], ...] | None = None
        self._library = Library()
        self._asked: tuple[object, ...] = ()
        self._kept = Library()

    def current(self) -> Library:
        """The library as it is in the store now. Raises ManifestError, StoreError."""
        recordings, segments = (_list_newest_first(self._store, kind) for kind in ("recordings", "segments"))
        seen = tuple((e.key, e.modified.isoformat()) for e in (*recordings, *segments))
        with self._lock:
            if seen != self._seen:
                self._library = self._read_library(recordings, segments)
                self._seen = seen
            return self._select_kept()

    def _select_kept(self) -> Library:
        try:
            asked = (id(self._library), open_ledger(self._store).read_state().number, int(time.monotonic() / _ASK_S))
            if asked != self._asked:
                self._kept, self._asked = _drop_closed(self._store, self._library), asked
        except GovernanceError:  # nobody knows what may be heard; the header says why
            return replace(self._library, segments={})
        return self._kept

    def _read_library(self, recordings: list[StoreEntry], segments: list[StoreEntry]) -> Library:
        found = Library(segments=self._read_segments(segments))
        for entry in recordings:
            for row in manifest.fetch_manifest(self._store, entry.key, "recordings", Recording).rows:
                found.recordings.setdefault(row.id, row)
                found.brought_in[row.id] = entry.modified  # the oldest comes last
        return found

    def _read_segments(self, entries: list[StoreEntry]) -> dict[Digest, Segment]:
        segments: dict[Digest, Segment] = {}
        segmented: set[Digest] = set()  # recordings of newer manifests
        for entry in entries:
            rows = manifest.fetch_manifest(self._store, entry.key, "segments", Segment).rows
            segments.update({row.id: row for row in rows if row.recording not in segmented})
            segmented.update(row.recording for row in rows)
        return segments


def _drop_closed(store: Store, library: Library) -> Library:
    """Without the segments that nobody may listen to any more."""
    agreement, people = read_current_agreement(store), {id: r.contributors for id, r in library.recordings.items()}
    if agreement is None:
        return library
    closed = decide_policy("ingest", agreement, read_consents(store, people), people, standing=read_standing(store)).refused
    kept = {id: segment for id, segment in library.segments.items() if segment.recording not in closed}
    return replace(library, segments=kept)


def _list_newest_first(store: Store, kind: str) -> list[StoreEntry]:
    return sorted(store.list(manifest_folder(kind)), key=lambda entry: (entry.modified, entry.key), reverse=True)
