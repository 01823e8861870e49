"""The library: every recording and segment that the store's manifests list. Reads no sound."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from audiotune.domain import manifest
from audiotune.domain.recording import Digest, Recording
from audiotune.domain.segment import Segment
from audiotune.store.layout import manifest_folder
from audiotune.store.port import Store, StoreEntry


@dataclass(frozen=True)
class Library:
    """All recordings and segments. A recording that was segmented again shows its newest segments only.

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
    """Keeps the library in memory and reads it again only when a manifest was added or removed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._seen: tuple[tuple[str, str], ...] | None = None
        self._library = Library()

    def current(self) -> Library:
        """The library as it is in the store now. Raises ManifestError, StoreError."""
        recordings, segments = (_list_newest_first(self._store, kind) for kind in ("recordings", "segments"))
        seen = tuple((e.key, e.modified.isoformat()) for e in (*recordings, *segments))
        with self._lock:
            if seen != self._seen:
                self._library = self._read_library(recordings, segments)
                self._seen = seen
            return self._library

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


def _list_newest_first(store: Store, kind: str) -> list[StoreEntry]:
    return sorted(store.list(manifest_folder(kind)), key=lambda entry: (entry.modified, entry.key), reverse=True)
