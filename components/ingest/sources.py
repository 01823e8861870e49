"""Sources of recordings on this machine, folders, single files and zips, and uploads of the studio.

A source lists the names of its files and opens each as a temporary local path. Names inside a source are never used as paths of
this machine. `refused` lists files that cannot be read, with the reason. `remote_sources` has the sources on other machines;
`open_source` selects one of all kinds.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from audiotune.audio.file_kinds import FileKind, recognise_file
from audiotune.domain.upload import Upload
from audiotune.domain.waiting_sound import download_waiting_sound, find_recording, is_waiting_key
from audiotune.errors import NotInStoreError, SourceError
from audiotune.store import Store
from components.ingest.likenesses import load_known_recordings
from components.ingest.settings import Settings

GIB = 1 << 30
# Suffixes of files without sound that are common beside recordings. All other files are decoded.
_OTHER_SUFFIXES = (
    ".json .toml .csv .txt .md .html .htm .pdf .rtf .doc .docx .png .jpg .jpeg .gif .heic .svg .mid .midi .asd .als .rpp .logicx "
    ".reapeaks .pkf .peak .ini .db .lnk .url .log .xml .yaml .yml .py .sh .cue .m3u .m3u8 .pls .gitattributes .parquet"
)
_OTHER_THAN_SOUND = frozenset(_OTHER_SUFFIXES.split())
# A zip entry is a bomb when it unpacks to more than 64 MiB and to more than 200 times its packed bytes. No real recording does.
_UTF8_FLAG = 0x800
_USUAL = " -_.,;()[]{}+&'!#@=~^$%/\\–—‘’“”"  # in names of files, beside letters and digits
_BOMB_RATIO, _BOMB_BYTES = 200, 64 << 20


class RecordingSource(Protocol):
    """Files of a source.

    Attributes:
        files: every file's name inside the source, `/` between folders.
        refused: (name, reason) of each file that cannot be read.
    """

    files: list[str]
    refused: list[tuple[str, str]]

    def open(self, name: str) -> AbstractContextManager[Path]:
        """The file as a local path, valid inside the `with`. Raises SourceError."""


def open_local(path: Path, settings: Settings, scratch: Path) -> RecordingSource:
    """A folder, a zip (by its content) or one file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(path)
        if not stat.S_ISREG(mode):
            raise SourceError("this is neither a file nor a folder", where=str(path), cure="pass a folder, a file or a zip")
        path = path.resolve()  # a link that the user names is followed; links inside a folder are checked
        if is_zip(path):
            return ZipSource(path, settings, scratch)
        kind = recognise_file(path) if path.stat().st_size else FileKind()
        if kind.cure:
            raise SourceError(f"this is {kind.words}, no recording", where=path.name, cure=kind.cure)
        return FolderSource(path.parent, only=path.name)
    except OSError as e:
        raise SourceError(f"cannot read the source: {e.strerror}", where=str(path), cure="check the path and its rights") from e


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def may_be_sound(name: str) -> bool:
    """Decides by the name: hidden files, macOS resource forks and the suffixes above are no recordings."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    if hidden and path.suffix == ".icloud" and path.stem.startswith("."):  # what iCloud leaves of a file that it has taken away
        return may_be_sound(str(path.parent / path.stem[1:]))
    return not hidden and path.suffix.lower() not in _OTHER_THAN_SOUND


def _decode_name(info: zipfile.ZipInfo) -> str:
    """The name of a zip's entry. Without a flag for UTF-8 a Mac writes UTF-8, Windows the code page of a country, and the standard 437."""
    if info.flag_bits & _UTF8_FLAG or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437")
    for encoding in ("utf-8", "cp437", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            name = raw.decode(encoding)
            if encoding == "utf-8" or all(letter.isalnum() or letter in _USUAL for letter in name):
                return name
    return info.filename


class FolderSource:
    """A folder with all its subfolders, or only one file (`only`) and its sidecars."""

    def __init__(self, root: Path, only: str = "") -> None:
        self._root = root.resolve()
        self.files: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self._walk_folder(self._root, deep=not only)
        self.files.sort()
        if only:
            self.files = [name for name in self.files if name == only or not may_be_sound(name)]
            self.refused = [(name, why) for name, why in self.refused if name == only]

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        yield self._root / name

    def _walk_folder(self, folder: Path, deep: bool) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as e:
            self.refused.append((self._relative_name(folder), f"the folder cannot be read: {e.strerror}"))
            return
        for entry in entries:
            path = Path(entry.path)
            reason = self._refusal_reason(entry, path)
            if reason:
                self.refused.append((self._relative_name(path), reason))
            elif entry.is_dir(follow_symlinks=False):
                if deep:
                    self._walk_folder(path, deep)
            else:
                self.files.append(self._relative_name(path))

    def _refusal_reason(self, entry: os.DirEntry[str], path: Path) -> str:
        if entry.is_symlink():
            try:
                target = path.resolve(strict=True)
            except (OSError, RuntimeError):
                return "the link leads nowhere"
            if not target.is_relative_to(self._root):
                return "the link leads out of the folder"
            return "" if target.is_file() else "links to folders are not followed"
        return "" if entry.is_file() or entry.is_dir() else "this is no regular file"

    def _relative_name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


class UploadSource:
    """An upload of the studio: its files are blobs of the store already, and are read there; some wait for somebody's word."""

    def __init__(self, store: Store, upload: Upload, settings: Settings, scratch: Path) -> None:
        self._store, self._scratch = store, scratch
        largest_b = settings.largest_file_gib * GIB
        self._blobs = {file.name: file.blob for file in upload.files if file.size <= largest_b}
        self.files = sorted(self._blobs)
        self.refused = [(file.name, "it is larger than largest_file_gib") for file in upload.files if file.size > largest_b]

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        key = self._blobs[name]
        if not is_waiting_key(key):
            yield self._fetch_blob(key)
            return
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:  # no cache keeps what waits
            path = Path(folder) / PurePosixPath(key).name
            yield path if self._download(key, path) else self._fetch_blob(self._find_taken_in(key))

    def _download(self, key: str, path: Path) -> bool:
        """Whether the bytes still wait."""
        try:
            download_waiting_sound(self._store, key, path)
        except NotInStoreError:
            return False
        return True

    def _find_taken_in(self, key: str) -> str:
        """The blob of a recording that waited and was taken in since; a key without bytes where it was not."""
        row = load_known_recordings(self._store).rows.get(find_recording(key) or "")
        return row.blob if row else key

    def _fetch_blob(self, key: str) -> Path:
        try:
            return self._store.fetch(key)
        except NotInStoreError as e:
            raise SourceError("its bytes are no longer in the store", cure="upload it again") from e


class ZipSource:
    """A zip, unpacked one file at a time under generated names."""

    def __init__(self, path: Path, settings: Settings, scratch: Path) -> None:
        self._where, self._scratch, self._opened = path.name, scratch, 0
        self.files: list[str] = []
        self.refused: list[tuple[str, str]] = []
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
            raise SourceError(f"the zip is cut or damaged: {e}", where=path.name, cure="make it again") from e
        self._entries: dict[str, zipfile.ZipInfo] = {}
        left = settings.largest_total_gib * GIB
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            info.filename = _decode_name(info)
            left -= info.file_size
            reason = self._refusal_reason(info, settings)
            if not reason and left < 0:
                reason = "the zip unpacks to more than largest_total_gib"
            if reason:
                self.refused.append((info.filename, reason))
            else:
                self._entries[info.filename] = info
        self.files = sorted(self._entries)

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        info = self._entries[name]
        self._opened += 1  # a recording and its sidecar are open at the same time
        path = self._scratch / f"unpacked-{self._opened}{PurePosixPath(name).suffix[:12] if name.isascii() else ''}"
        try:
            self._unpack_entry(info, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _unpack_entry(self, info: zipfile.ZipInfo, path: Path) -> None:
        written = 0
        try:
            with self._zip.open(info) as packed, path.open("wb") as out:
                while block := packed.read(1 << 20):
                    written += len(block)
                    if written > info.file_size:
                        raise SourceError("it unpacks to more than the zip says", where=self._where, cure="make the zip again")
                    out.write(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as e:
            raise SourceError(f"it cannot be unpacked: {e}", where=self._where, cure="make the zip again") from e

    def _refusal_reason(self, info: zipfile.ZipInfo, settings: Settings) -> str:
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
            return "its name leads out of the zip"
        if stat.S_ISLNK(info.external_attr >> 16):
            return "it is a link, not a file"
        if info.flag_bits & 1:
            return "it is encrypted"
        if name in self._entries:
            return "the zip holds two files of this name"
        if info.file_size > settings.largest_file_gib * GIB:
            return "it is larger than largest_file_gib"
        if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
            return f"it unpacks to {info.file_size // max(1, info.compress_size)} times its size: a zip bomb"
        return ""
