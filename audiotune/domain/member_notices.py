"""What others did in a member's name, so that the member is told: annotations taken in from a file, uploads that name them as a player."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audiotune.domain.annotation import Annotation
from audiotune.domain.manifest import fetch_manifest_meta, list_manifests
from audiotune.domain.upload import Upload
from audiotune.errors import ManifestError, NotInStoreError
from audiotune.store.layout import INBOX
from audiotune.store.port import Store, StoreEntry

META = "imported"  # in a dataset's metadata: member -> file -> number of annotations


@dataclass(frozen=True)
class MemberNotice:
    """One thing that was done in a member's name.

    Attributes:
        by: the member who did it; empty for an import, which the dataset's maker did.
        files: the file that annotations came from, or the files of an upload.
        annotations: how many; 0 for an upload.
    """

    time: datetime
    by: str
    files: tuple[str, ...]
    annotations: int = 0


def count_imported(annotations: Iterable[Annotation]) -> dict[str, dict[str, int]]:
    """Member -> file -> number of annotations that were taken in from it in the member's name."""
    counts = Counter((one.member, one.imported_from) for one in annotations if one.imported_from)
    by_member: dict[str, dict[str, int]] = {}
    for (member, file), number in sorted(counts.items()):
        by_member.setdefault(member, {})[file] = number
    return by_member


class MemberNoticeReader:
    """Finds the notices for a member. Each record of the store is read once; one that is damaged tells nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, datetime], list[tuple[str, MemberNotice]]] = {}
        self._lock = threading.Lock()

    def list_notices(self, member: str) -> list[MemberNotice]:
        """Those for a member, the newest first. Raises StoreError."""
        uploads = (entry for entry in self._store.list(INBOX.path) if entry.key.endswith("/upload.json"))
        entries = [*list_manifests(self._store, "datasets"), *uploads]
        found = [notice for entry in entries for named, notice in self._read_once(entry) if named == member]
        return sorted(found, key=lambda notice: notice.time, reverse=True)

    def _read_once(self, entry: StoreEntry) -> list[tuple[str, MemberNotice]]:
        at = entry.key, entry.modified
        with self._lock:
            known = self._read.get(at)
        if known is None:
            known = list(self._read_record(entry))
            with self._lock:
                self._read[at] = known
        return known

    def _read_record(self, entry: StoreEntry) -> Iterable[tuple[str, MemberNotice]]:
        try:
            if entry.key.startswith(INBOX.path):
                return _list_named_players(Upload.model_validate_json(self._store.get(entry.key)), entry.modified)
            return _list_imports(fetch_manifest_meta(self._store, entry.key).get(META), entry.modified)
        except (NotInStoreError, ManifestError, ValueError, TypeError):
            return []


def _list_imports(counts: Any, time: datetime) -> list[tuple[str, MemberNotice]]:
    return [
        (str(member), MemberNotice(time, "", (str(file),), int(number)))
        for member, files in dict(counts or {}).items()
        for file, number in dict(files).items()
    ]


def _list_named_players(upload: Upload, time: datetime) -> list[tuple[str, MemberNotice]]:
    names = tuple(file.name for file in upload.files)
    return [(who, MemberNotice(time, upload.uploaded_by, names)) for who in upload.contributors if who != upload.uploaded_by]
