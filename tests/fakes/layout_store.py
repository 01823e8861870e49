"""A folder store that refuses keys outside the layout: for journeys, so that nothing is written under a prefix that no table names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audiotune.errors import StoreError
from audiotune.store import FolderStore, StoreEntry
from audiotune.store.layout import PREFIXES, find_prefix


class LayoutStore(FolderStore):
    """Writes and deletes only keys that have a row in `audiotune.store.layout`; lists only under one."""

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        require_prefix(key)
        super().put(key, data, only_new=only_new)

    def upload(self, key: str, path: Path) -> None:
        require_prefix(key)
        super().upload(key, path)

    def delete(self, key: str) -> None:
        require_prefix(key)
        super().delete(key)

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        if prefix and not any(prefix.startswith(row.path) or row.path.startswith(prefix) for row in PREFIXES):
            raise StoreError(f"nothing is ever stored under {prefix!r}", cure="add a row to audiotune/store/layout.py")
        return super().list(prefix, after)


def require_prefix(key: str) -> None:
    """Raises StoreError for a key that no row of the layout holds."""
    if find_prefix(key) is None:
        raise StoreError(f"{key!r} is outside the layout", cure="add a row to audiotune/store/layout.py")
