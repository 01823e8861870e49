"""Files that members uploaded and did not use yet: a folder for each member, with a bound on its size. Does not import gradio."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from services.studio.http.refusals import RequestRefusedError

EVERYBODY = "_everybody"  # the folder where nobody signs in; no member's id begins with a line
_KEEP_S = 24 * 3600.0
_YOUNG_S = 3600.0  # younger files may still be on somebody's page, so they are not removed to make room
_SWEEP_S = 600.0
_SPARE_BYTES = 500_000_000  # what must stay free on the disk


class UploadFolder:
    """The folder `uploads` among the files on their way: `<member>/<a random name>/<file>`.

    Args:
        files: folder of all files on their way to and from browsers.
        quota_bytes: most of one member.
    """

    def __init__(self, files: Path, quota_bytes: int) -> None:
        self._files, self.root, self._quota_bytes = files, files / "uploads", quota_bytes
        self._lock, self._swept = threading.Lock(), 0.0

    def open_request(self, member: str, expected_bytes: int) -> tuple[Path, int]:
        """A new folder for the files of one request, and how many bytes they may have.

        Raises RequestRefusedError: more than the member's quota, or than the disk has room for.
        """
        with self._lock:
            self._sweep()
            room = self._quota_bytes - self._count_bytes(member)
            if room < max(expected_bytes, 1):
                self._remove_older(self._find_folder(member), _YOUNG_S)
                room = self._quota_bytes - self._count_bytes(member)
            folder = self._find_folder(member) / secrets.token_hex(16)
            folder.mkdir(parents=True)
        free = shutil.disk_usage(self.root).free - _SPARE_BYTES
        if expected_bytes > min(room, free) or free <= 0 or room <= 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise _refuse_full(self._quota_bytes) if room <= free else RequestRefusedError(507, "The studio's disk is full.")
        return folder, min(room, free)

    def is_own(self, path: str, member: str) -> bool:
        """Whether a path lies in the member's folder."""
        return self._find_owner(path) == (member or EVERYBODY)

    def require_own(self, path: str, member: str) -> None:
        """Raises RequestRefusedError for an address, and for a file that another member has uploaded."""
        if not _is_whole_path(path) or self._find_owner(path) not in ("", member or EVERYBODY):
            raise RequestRefusedError(404, "Not Found")

    def discard(self, paths: Iterable[Path]) -> None:
        """Removes uploads whose bytes are in the store by now; leaves every other file."""
        for path in paths:
            if self._find_owner(str(path)):
                shutil.rmtree(path.parent, ignore_errors=True)
                with contextlib.suppress(OSError):  # other files of the same request
                    path.parent.parent.rmdir()

    def remove_left_over(self) -> None:
        """Removes files on their way that are older than a day, also those of an earlier studio."""
        with self._lock:
            self._remove_older(self._files, _KEEP_S)

    def _find_owner(self, path: str) -> str:
        """The name of the folder that holds a member's upload; "" for a path outside of all uploads."""
        if not _is_whole_path(path):
            return ""
        for found in (Path(os.path.normpath(path)), Path(path).resolve()):
            for root in (self.root, self.root.resolve()):
                if found.is_relative_to(root):
                    return (*found.relative_to(root).parts, ".")[0]
        return ""

    def _find_folder(self, member: str) -> Path:
        return self.root / (member or EVERYBODY)

    def _count_bytes(self, member: str) -> int:
        return sum(size for _, size, _ in _list_files(self._find_folder(member)))

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > _SWEEP_S:
            self._swept = time.monotonic()
            self._remove_older(self.root, _KEEP_S)

    def _remove_older(self, folder: Path, age_s: float) -> None:
        before = time.time() - age_s
        parents = [Path(name) for name, _, _ in os.walk(folder, topdown=False)]
        old_parents = [path for path in parents if path.lstat().st_mtime < before and path not in (self.root, self._files)]
        for path, _, changed in _list_files(folder):
            if changed < before:
                path.unlink(missing_ok=True)
        for parent in old_parents:
            with contextlib.suppress(OSError):  # not empty, or gone already
                parent.rmdir()


def _list_files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Each file below a folder, with its size and the time of its last change; without those that vanish meanwhile."""
    for parent, _, names in os.walk(folder):
        for path in [Path(parent, name) for name in names]:
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            yield path, found.st_size, found.st_mtime


def _is_whole_path(path: str) -> bool:
    return Path(path).is_absolute() and "\0" not in path


def _refuse_full(quota_bytes: int) -> RequestRefusedError:
    words = (
        f"Your uploads that wait in the studio would be more than {quota_bytes / 1e9:g} GB. Keep those first, or come in an hour."
    )
    return RequestRefusedError(413, words)
