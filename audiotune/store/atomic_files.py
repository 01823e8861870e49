"""Writes files whole or not at all: under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yields the temporary name to write to; it becomes `path` when the block succeeds and is removed when it fails.

    The suffix stays, for writers that choose the format by it. The folder is made. A rename within one folder is atomic (POSIX).
    Threads and processes that write one path at once have different temporary names; the last one to finish counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_native_id()}.part{path.suffix}")
    part.unlink(missing_ok=True)  # left by an earlier process of the same numbers
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomic_file(path: Path, data: bytes | str) -> Path:
    """Writes bytes, or text as UTF-8, whole or not at all."""
    with replace_atomically(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
