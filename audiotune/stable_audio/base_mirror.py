"""Copies a base from a hub into the store, so that it is fetched once and can be killed at any time.

Words come before weights: licence, notice and config first, and a config that cannot be built ends it there. A large file comes in parts,
each kept in the store under `downloads/` until the file is whole: the next process, on whatever machine, goes on behind the last one.
A file is a blob as soon as it is whole. The index of the base is written last.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.domain.recording import Digest
from audiotune.errors import ModelError, NotInStoreError, SourceError, StoreError
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_index import BaseIndex, choose_index_name, write_base_index
from audiotune.stable_audio.hub import Hub, HubFile, HubSnapshot
from audiotune.stable_audio.known_bases import KnownBase, TextEncoderSource, find_known_base
from audiotune.stable_audio.model_folder import (
    CHECKPOINT,
    CONFIG,
    WEIGHTS,
    convert_checkpoint,
    is_notice,
    list_encoders,
    locate_encoder_folder,
)
from audiotune.store.cache_folder import choose_cache_folder
from audiotune.store.layout import DOWNLOADS
from audiotune.store.port import Store, blob_key

PART_BYTES = 64 << 20
ConfigCheck = Callable[[dict[str, Any], str], None]


@dataclass(frozen=True)
class WantedFile:
    """A file of a hub, and its path in the base's folder."""

    path: str
    snapshot: HubSnapshot
    file: HubFile


class TransferProgress:
    """Tells how many bytes are there, of how many, and how long the rest takes at the speed of this process so far."""

    def __init__(self, name: str, total: int, progress: ProgressCallback) -> None:
        self._name, self._total, self._progress = name, max(1, total), progress
        self._last, self._done, self._fetched, self._fetch_s = time.monotonic(), 0, 0, 0.0

    def add_bytes(self, words: str, count: int, *, fetched: bool) -> None:
        """Counts bytes that are there now. `fetched`: they came from the hub, not from an earlier try."""
        now = time.monotonic()
        self._done += count
        if fetched:
            self._fetched, self._fetch_s = self._fetched + count, self._fetch_s + now - self._last
        self._last = now
        known = self._fetched > self._total / 100  # small files come slowly, whatever the line
        left_s = (self._total - self._done) * self._fetch_s / self._fetched if known else 0.0
        rest = f", {_format_duration(left_s)} left" if known and self._done < self._total else ""
        self._progress(self._done / self._total, f"{self._name}: {words}, {_format_bytes(self._done, self._total)}{rest}")


class BaseMirror:
    """Copies bases of a hub into a store.

    Args:
        check: raises ModelError for a config that is not to be fetched.
        part_bytes: how much of a large file is at most fetched again after a killed process.
    """

    def __init__(
        self, store: Store, hub: Hub, progress: ProgressCallback, check: ConfigCheck, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._store, self._hub, self._progress = store, hub, progress
        self._check, self._part_bytes = check, part_bytes

    def copy_base(self, name: str) -> BaseIndex:
        """The index of a base that is in the store now.

        Raises:
            ModelError: it is no stable-audio-tools model, or one that cannot be built here.
            SourceError: the hub refuses or does not answer.
        """
        known = find_known_base(name)
        self._progress(0.0, f"{name}: asking Hugging Face")
        main = self._hub.read_snapshot(known.repository if known else name)
        config_file, weights_file = choose_model_files(main.files, known)
        if config_file is None or weights_file is None:
            raise ModelError(f"{name} on Hugging Face is no stable-audio-tools model", cure=f"it needs {CONFIG} and {WEIGHTS}")
        notices = {path: self._keep_words(main, path) for path in sorted(main.files) if is_notice(path)}
        data = self._read_whole(main, main.files[config_file])
        config = json.loads(data)
        self._check(config, name)
        weights = WantedFile(WEIGHTS, main, main.files[weights_file])
        wanted = [weights, *self._choose_encoder_files(main, known, config)]
        progress = TransferProgress(name, sum(one.file.size for one in wanted), self._progress)
        files = {CONFIG: self._store.put_blob(data, ".json")}
        for one in sorted(wanted, key=lambda one: one.file.size):  # words before weights
            files[one.path] = self._keep_file(one, progress)
        revisions = {one.snapshot.repository: one.snapshot.revision for one in wanted}
        index = BaseIndex(choose_index_name(name), dict(sorted(files.items())), notices, revisions)
        write_base_index(self._store, index)
        return index

    def _choose_encoder_files(self, main: HubSnapshot, known: KnownBase | None, config: dict[str, Any]) -> Iterator[WantedFile]:
        """The files of the text encoder: as the table of bases says, else as the config names it."""
        if known and known.text_encoder:
            yield from self._choose_known_encoder(main, known.text_encoder)
            return
        for name, names in list_encoders(config):
            own = next((folder for folder in (name, locate_encoder_folder(name)) if _has_folder(main, folder)), "")
            source, prefix = (main, f"{own}/") if own else (self._hub.read_snapshot(name), "")
            for file in (file for file in names if prefix + file in source.files):
                yield WantedFile(f"{own or locate_encoder_folder(name)}/{file}", source, source.files[prefix + file])

    def _choose_known_encoder(self, main: HubSnapshot, wanted: TextEncoderSource) -> Iterator[WantedFile]:
        source = main if wanted.repository == main.repository else self._hub.read_snapshot(wanted.repository)
        prefix = f"{wanted.folder}/" if wanted.folder else ""
        for number, file in enumerate(wanted.files):
            if prefix + file in source.files:
                target = locate_encoder_folder(wanted.folder or wanted.repository)
                yield WantedFile(f"{target}/{file}", source, source.files[prefix + file])
            elif number < 2:  # the hub may lack the others
                raise ModelError(f"there is no {prefix}{file}", where=wanted.repository, cure="look at the repository's page")

    def _keep_words(self, snapshot: HubSnapshot, path: str) -> str:
        return self._store.put_blob(self._read_whole(snapshot, snapshot.files[path]), ".txt")

    def _read_whole(self, snapshot: HubSnapshot, file: HubFile) -> bytes:
        out = io.BytesIO()
        self._hub.read_range(snapshot, file, 0, file.size, out)
        return out.getvalue()

    def _keep_file(self, wanted: WantedFile, progress: TransferProgress) -> str:
        """The blob of a file; fetches nothing where the store has it already."""
        file, suffix = wanted.file, Path(wanted.file.path).suffix.lower()
        if not file.digest:
            key = self._store.put_blob(self._read_whole(wanted.snapshot, file), suffix)
            progress.add_bytes(wanted.path, file.size, fetched=True)
            return key
        key = blob_key(file.digest, suffix)
        if suffix != ".ckpt" and self._store.exists(key):
            progress.add_bytes(wanted.path, file.size, fetched=False)
            return key
        with open_scratch(file.size) as scratch:
            whole = scratch / f"file{suffix}"
            digest = self._join_parts(wanted, whole, progress)
            if digest != file.digest:
                self._forget_parts(file)
                where = f"{wanted.snapshot.repository}/{file.path}"
                raise SourceError("what came is not the file that the hub names", where=where, cure="run it again")
            if suffix == ".ckpt":
                convert_checkpoint(whole, scratch / WEIGHTS)
                whole = scratch / WEIGHTS
            key = self._store.put_blob(whole, whole.suffix)
        self._forget_parts(file)
        return key

    def _join_parts(self, wanted: WantedFile, whole: Path, progress: TransferProgress) -> Digest:
        """Writes the file from the parts that the store has and those that the hub gives. Returns its SHA-256."""
        file, part, digest = wanted.file, whole.with_suffix(".part"), hashlib.sha256()
        with whole.open("wb") as out:
            for begin in range(0, file.size, self._part_bytes):
                end = min(begin + self._part_bytes, file.size)
                fetched = not self._load_part(file, begin, end, part)
                if fetched:
                    with part.open("wb") as piece:
                        self._hub.read_range(wanted.snapshot, file, begin, end, piece)
                    self._store.upload(_part_key(file, begin), part)
                with part.open("rb") as piece:
                    while block := piece.read(1 << 20):
                        digest.update(block)
                        out.write(block)
                progress.add_bytes(wanted.path, end - begin, fetched=fetched)
        part.unlink(missing_ok=True)
        return digest.hexdigest()

    def _load_part(self, file: HubFile, begin: int, end: int, part: Path) -> bool:
        """Whether the store has this part; then it is in the file `part`."""
        try:
            self._store.download(_part_key(file, begin), part)
        except NotInStoreError:
            return False
        return part.stat().st_size == end - begin

    def _forget_parts(self, file: HubFile) -> None:
        for entry in list(self._store.list(DOWNLOADS.folder(file.digest))):
            self._store.delete(entry.key)


def choose_model_files(available: Container[str], known: KnownBase | None) -> tuple[str | None, str | None]:
    """Which of the files that there are become config and weights; None for one that is missing."""
    configs, weights = ((known.config, CONFIG), known.weights) if known else ((CONFIG,), (WEIGHTS, CHECKPOINT))
    return next((file for file in configs if file in available), None), next(
        (file for file in weights if file in available), None
    )


def _has_folder(snapshot: HubSnapshot, folder: str) -> bool:
    return any(path.startswith(f"{folder}/") for path in snapshot.files)


def _part_key(file: HubFile, begin: int) -> str:
    return DOWNLOADS.key(file.digest, f"{begin:015d}")


@contextmanager
def open_scratch(size: int) -> Iterator[Path]:
    """A folder with room for a file of `size` bytes, beside the cache: the temporary folder is often a small one, in memory."""
    cache = choose_cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < size:
        what = f"{_format_bytes(size)} are to come, and {_format_bytes(free)} are free"
        raise StoreError(what, where=str(cache), cure="free some space, or set AUDIOTUNE_CACHE to a larger disk")
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache) as scratch:
        yield Path(scratch)


def _format_bytes(count: int, of: int | None = None) -> str:
    """`1.25 of 4.85 GB`."""
    unit, size = ("GB", 1e9) if (of or count) >= 1e9 else ("MB", 1e6)
    return f"{count / size:.2f} of {of / size:.2f} {unit}" if of is not None else f"{count / size:.2f} {unit}"


def _format_duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, seconds):.0f} s"
