"""The store: one port with two implementations, a folder and an S3 bucket. Nothing else in the project uses boto3.

`open_store("s3://bucket/prefix")` or `open_store("/a/folder")`; `AUDIOTUNE_STORE` names the default.
"""

from __future__ import annotations

import os
from pathlib import Path

from audiotune.errors import StoreError
from audiotune.store.local import FolderStore
from audiotune.store.port import Store, StoreEntry, blob_key, compute_digest

__all__ = ["FolderStore", "Store", "StoreEntry", "blob_key", "compute_digest", "open_store"]


def open_store(url: str | None = None) -> Store:
    """The store that a URL names: `s3://bucket/prefix`, `file:///folder` or a folder; by default that of AUDIOTUNE_STORE.

    Raises StoreError: no store is named, or one of an unknown kind.
    """
    url = url or os.environ.get("AUDIOTUNE_STORE", "")
    if not url:
        raise StoreError("no store is named", cure="set AUDIOTUNE_STORE to a folder or to s3://bucket/prefix")
    if url.startswith("s3://"):
        from audiotune.store.s3 import S3Store

        return S3Store(url)
    if "://" in url and not url.startswith("file://"):
        raise StoreError(f"no store kind for {url.split(':')[0]!r}", cure="use a folder or s3://bucket/prefix")
    return FolderStore(Path(url.removeprefix("file://")).expanduser())
