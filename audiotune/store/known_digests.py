"""Digests of large files of this machine, kept from one process to the next: five steps need not hash the same gigabytes five times.

What is kept holds for a file as the file system describes it: device, inode, size, and the times of its last change in
nanoseconds. Whatever writes to a file sets the last of them, which no program can choose. Of a file that was changed in the last
two seconds nothing is kept: clocks of file systems are coarse.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from audiotune.errors import DamagedBlobError
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.cache_folder import choose_cache_folder
from audiotune.store.port import compute_digest, digest_from_key

_LARGE_BYTES = 16 << 20  # smaller files are hashed faster than a note is found
_SETTLED_S = 2.0


def read_digest(path: Path) -> str:
    """The SHA-256 of a file; a large one that has not changed since it was hashed is not read again."""
    found = path.stat()
    if found.st_size < _LARGE_BYTES:
        return compute_digest(path)
    note = choose_cache_folder() / "digests" / _describe_file(found)
    with suppress(OSError):
        if re.fullmatch(r"[0-9a-f]{64}", known := note.read_text()):
            return known
    settled = time.time() - found.st_ctime > _SETTLED_S
    digest = compute_digest(path)
    if settled and _describe_file(path.stat()) == note.name:
        with suppress(OSError):  # a full or read-only cache costs time alone
            write_atomic_file(note, digest)
    return digest


def check_content(key: str, path: Path) -> None:
    """Raises DamagedBlobError when a file's content does not match the hash in its blob key; other keys promise nothing."""
    if not matches_key(key, path):
        raise DamagedBlobError("the content does not match its hash", where=key, cure="restore this blob from a backup")


def matches_key(key: str, path: Path) -> bool:
    """Whether a file has the content that its blob key promises."""
    promised = digest_from_key(key)
    return promised is None or read_digest(path) == promised


def _describe_file(found: os.stat_result) -> str:
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
