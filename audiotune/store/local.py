"""A store in a folder: for one machine, for tests, for a USB stick."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from audiotune.errors import AlreadyInStoreError, StoreError
from audiotune.store.known_digests import check_content
from audiotune.store.port import StoreEntry, blob_key, build_missing_error, check_key, compute_digest

_TEMPORARY = ".parts"  # files that are being written, on the same file system; listings leave it out


class FolderStore:
    """A store in a folder. Writes go to a temporary name, then are renamed or hard-linked into place.

    Args:
        root: made when it does not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._checked: set[str] = set()
        try:
            (self.root / _TEMPORARY).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise _build_store_error(e, str(root)) from e

    @property
    def url(self) -> str:
        return str(self.root)

    def get(self, key: str) -> bytes:
        try:
            return self._resolve_path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise build_missing_error(key, self.url) from None
        except OSError as e:
            raise _build_store_error(e, key) from e

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        part = self._write_temporary_file(data, key)
        self._move_into_place(part, self._resolve_path(key), key, only_new=only_new)

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        key = blob_key(compute_digest(source), suffix)
        path = self._resolve_path(key)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if path.exists() and path.stat().st_size == size:
            return key
        self._move_into_place(self._write_temporary_file(source, key), path, key, only_new=False)
        return key

    def fetch(self, key: str) -> Path:
        path = self._resolve_path(key)
        if not path.is_file():
            raise build_missing_error(key, self.url)
        if key not in self._checked:  # a two-hour take is hashed only once in a step
            check_content(key, path)
            self._checked.add(key)
        return path

    def upload(self, key: str, path: Path) -> None:
        self._move_into_place(self._write_temporary_file(path, key), self._resolve_path(key), key, only_new=False)

    def download(self, key: str, path: Path) -> None:
        try:
            shutil.copyfile(self._resolve_path(key), path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise build_missing_error(key, self.url) from None
        except OSError as e:
            raise _build_store_error(e, key) from e

    def exists(self, key: str) -> bool:
        return self._resolve_path(key).is_file()

    def size(self, key: str) -> int:
        path = self._resolve_path(key)
        if not path.is_file():
            raise build_missing_error(key, self.url)
        return path.stat().st_size

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        folder = self.root / prefix.rpartition("/")[0]
        if not folder.resolve().is_relative_to(self.root):
            raise StoreError(f"{prefix!r} is no store prefix", cure="use words joined by '/'")
        entries = []
        for path in folder.rglob("*") if folder.is_dir() else ():
            key = path.relative_to(self.root).as_posix()
            if key.startswith(prefix) and key > after and path.is_file() and not key.startswith(_TEMPORARY):
                with suppress(FileNotFoundError):  # deleted at this moment
                    stat = path.stat()
                    entries.append(StoreEntry(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)))
        yield from sorted(entries, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        self._resolve_path(key).unlink(missing_ok=True)
        self._checked.discard(key)

    def _resolve_path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _write_temporary_file(self, source: Path | bytes, key: str) -> Path:
        """Writes the content to a temporary file of this file system."""
        part: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(dir=self.root / _TEMPORARY, delete=False) as out:
                part = Path(out.name)
                if isinstance(source, bytes):
                    out.write(source)
                else:
                    with source.open("rb") as file:
                        shutil.copyfileobj(file, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            part.chmod(0o644)
            return part
        except OSError as e:
            if part:
                part.unlink(missing_ok=True)
            raise _build_store_error(e, key) from e

    def _move_into_place(self, part: Path, path: Path, key: str, *, only_new: bool) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if only_new:
                os.link(part, path)  # fails when the name is taken: the atomic test
            else:
                part.replace(path)
        except FileExistsError:
            raise AlreadyInStoreError("the key is taken", where=key, cure="read it again and decide anew") from None
        except OSError as e:
            raise _build_store_error(e, key) from e
        finally:
            part.unlink(missing_ok=True)


def _build_store_error(e: OSError, where: str) -> StoreError:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("the disk is full, nothing was half-stored", where=where, cure="free some space and run again")
    if e.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StoreError("the store may not be written", where=where, cure="check the folder's owner and rights")
    return StoreError(f"the store failed: {e.strerror}", where=where, cure="check the disk")
