"""The store port: keys to bytes, and blobs that are named by their content.

Keys are `/`-separated words without `.` or `..` parts. Blobs live once, under their SHA-256:
`blobs/sha256/ab/abcd....flac`. The same bytes have the same key: a second put costs nothing, and changed bytes are noticed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from audiotune.errors import NotInStoreError, StoreError
from audiotune.store.layout import BLOBS

_KEY = re.compile(r"(?!.*(^|/)\.{1,2}(/|$))[^/\x00-\x1f\\][^\x00-\x1f\\]{0,900}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,12}){0,2}")
BLOB_PATTERN = BLOBS.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})(?:\.[a-z0-9.]+)?")


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """A key in a listing. `size` in bytes, `modified` with time zone."""

    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """The methods of every store. All raise StoreError with a cure when the store does not answer or is full."""

    @property
    def url(self) -> str:
        """The name that `open_store` takes for this store; never holds a secret."""

    def get(self, key: str) -> bytes:
        """The bytes at a key. Raises NotInStoreError."""

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        """Writes whole or not at all. With `only_new`, raises AlreadyInStoreError when the key exists (atomic)."""

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        """Stores content under its hash and returns the key; uploads nothing when the store has it already.

        `suffix` like ".flac" tells readers the format; it is not part of the identity check.
        """

    def fetch(self, key: str) -> Path:
        """A local file with the key's content, downloaded once and checked against its hash. Do not write to it.

        Raises NotInStoreError, DamagedBlobError.
        """

    def upload(self, key: str, path: Path) -> None:
        """Writes a file's content, whole or not at all."""

    def download(self, key: str, path: Path) -> None:
        """Writes the key's content into a file of the caller's; no cache keeps it. Raises NotInStoreError."""

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int:
        """Bytes at a key. Raises NotInStoreError."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        """All keys that begin with `prefix`, in key order; only those behind the key `after`, if it is given."""

    def delete(self, key: str) -> None:
        """Removes a key; no error when it is not there."""


def check_key(key: str) -> str:
    """The key itself. Raises StoreError for traversal, control characters, empty or overlong keys."""
    if not _KEY.fullmatch(key):
        raise StoreError(f"{key!r} is no store key", cure="use words joined by '/', without '.' or '..' parts")
    return key


def blob_key(digest: str, suffix: str = "") -> str:
    """`blobs/sha256/ab/abcd...` with an optional suffix such as `.flac`."""
    suffix = suffix.lower()
    if not _SUFFIX.fullmatch(suffix):
        raise StoreError(f"{suffix!r} is no file suffix", cure="use something like .flac")
    return BLOBS.key("sha256", digest[:2], f"{digest}{suffix}")


def digest_from_key(key: str) -> str | None:
    """The SHA-256 in a blob's key; None for other keys."""
    match = BLOB_PATTERN.fullmatch(key)
    return match.group(2) if match else None


def compute_digest(source: Path | bytes) -> str:
    """SHA-256 of a file or of bytes, hexadecimal; reads files in 1 MiB blocks."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_missing_error(key: str, url: str) -> NotInStoreError:
    return NotInStoreError(
        "nothing is stored", where=f"{key} ({url})", cure="check AUDIOTUNE_STORE, or run the step that makes it"
    )
