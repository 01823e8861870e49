"""A store in memory, which can be away, and whose writes can be stopped midway like a killed process. Knows the layout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from audiotune.errors import AlreadyInStoreError, NotInStoreError, StoreError
from audiotune.store.port import Store, StoreEntry, blob_key, compute_digest
from tests.fakes.layout_store import require_prefix

_names = itertools.count()


class Killed(BaseException):
    """The process dies here."""


class MemoryStore(Store):
    """See the module.

    Attributes:
        away: every call raises StoreError.
        writes_left: writes until the process dies; None never.
        written: when everything was written, as listings tell.
    """

    written = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self.away, self.writes_left, self.name = False, None, f"memory-{next(_names)}"  # type: tuple[bool, int | None, str]

    @property
    def url(self) -> str:
        return self.name

    def get(self, key: str) -> bytes:
        self._answer()
        if key not in self._data:
            raise NotInStoreError("nothing is stored", where=key)
        return self._data[key]

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        self._answer()
        require_prefix(key)
        if self.writes_left is not None:
            if self.writes_left <= 0:
                raise Killed
            self.writes_left -= 1
        if only_new and key in self._data:
            raise AlreadyInStoreError("the key is taken", where=key)
        self._data[key] = data

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        data = source if isinstance(source, bytes) else source.read_bytes()
        key = blob_key(compute_digest(data), suffix)
        self.put(key, data)
        return key

    def fetch(self, key: str) -> Path:
        raise StoreError("this store keeps no files", where=key)

    def upload(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def exists(self, key: str) -> bool:
        self._answer()
        return key in self._data

    def size(self, key: str) -> int:
        return len(self.get(key))

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        self._answer()
        for key in sorted(key for key in self._data if key.startswith(prefix) and key > after):
            yield StoreEntry(key, len(self._data[key]), self.written)

    def delete(self, key: str) -> None:
        self._answer()
        self._data.pop(key, None)

    def _answer(self) -> None:
        if self.away:
            raise StoreError("the store does not answer")
