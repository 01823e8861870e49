"""Parts of a file, read as if they were one file: the sound behind a header that is wrong, or one of several joined streams."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class FileView(io.RawIOBase):
    """Some bytes, then byte ranges of a file, in order.

    Args:
        path: the file.
        extents: (offset, length) of each range, inside the file.
        prefix: what comes before the ranges.
    """

    def __init__(self, path: Path, extents: Sequence[tuple[int, int]], prefix: bytes = b"") -> None:
        self._file = path.open("rb")
        self._prefix, self._extents, self._at = prefix, tuple(extents), 0
        self._size = len(prefix) + sum(length for _, length in extents)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._at < len(self._prefix):
            part = self._prefix[self._at : self._at + len(view)]
            view[: len(part)] = part
            read: int | None = len(part)
        else:
            read = self._read_extent(view)
        self._at += read or 0
        return read or 0

    def _read_extent(self, view: memoryview) -> int | None:
        inside = self._at - len(self._prefix)
        for offset, length in self._extents:
            if inside < length:
                self._file.seek(offset + inside)
                return self._file.readinto(view[: length - inside])
            inside -= length
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()


def open_view(path: Path, extents: Sequence[tuple[int, int]], prefix: bytes = b"") -> io.BufferedReader:
    """A `FileView` with a buffer: decoders read in small pieces."""
    return io.BufferedReader(FileView(path, extents, prefix), 1 << 18)
