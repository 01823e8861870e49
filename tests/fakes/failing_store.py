"""A folder store that is full, or away, from the n-th write on."""

from __future__ import annotations

from pathlib import Path

from audiotune.errors import StoreError
from audiotune.store import FolderStore


class FailingStore(FolderStore):
    """Behaves until `writes` writes are done; then every write raises StoreError with `words`."""

    def __init__(self, root: Path, writes: int, words: str = "the disk is full, nothing was half-stored") -> None:
        super().__init__(root)
        self._left, self._words = writes, words

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        self._spend(key)
        super().put(key, data, only_new=only_new)

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        self._spend("a blob")
        return super().put_blob(source, suffix)

    def upload(self, key: str, path: Path) -> None:
        self._spend(key)
        super().upload(key, path)

    def _spend(self, where: str) -> None:
        if self._left <= 0:
            raise StoreError(self._words, where=where, cure="free some space and run again")
        self._left -= 1
