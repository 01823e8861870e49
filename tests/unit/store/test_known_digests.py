"""Large files are read for their digest once on a machine, and again only when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audiotune.errors import DamagedBlobError
from audiotune.stable_audio.base_index import BaseIndex, write_base_index
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import FolderStore
from audiotune.store.known_digests import read_digest
from audiotune.store.port import compute_digest

SIZE = 3_000_000


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("audiotune.store.known_digests._LARGE_BYTES", SIZE)
    monkeypatch.setattr("audiotune.store.known_digests._SETTLED_S", -1.0)


def count_bytes_read() -> int:
    """All bytes that this process read so far, by the kernel's account."""
    return int(Path("/proc/self/io").read_text().split()[1])


def write_base(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
    return folder


@pytest.mark.parametrize("place", ["folder", "store"])
def test_the_steps_after_the_first_do_not_read_the_weights_for_their_digest(tmp_path: Path, place: str) -> None:
    folder = write_base(tmp_path / "ours")
    name = str(folder)
    if place == "store":
        name, store = "us/ours", FolderStore(tmp_path / "store")
        files = {path.name: store.put_blob(path, path.suffix) for path in folder.iterdir()}
        write_base_index(store, BaseIndex(name, files))
    before = count_bytes_read()
    first = resolve_base(FolderStore(tmp_path / "store"), name)
    assert count_bytes_read() - before > SIZE
    before = count_bytes_read()
    again = resolve_base(FolderStore(tmp_path / "store"), name)  # as the next step's process does
    assert count_bytes_read() - before < SIZE / 10
    assert again.digest == first.digest


def test_a_file_that_changed_is_read_again_though_its_size_and_time_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(SIZE))
    assert read_digest(path) == read_digest(path) == compute_digest(path)
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert read_digest(path) == compute_digest(path)


def test_a_file_changed_just_now_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotune.store.known_digests._SETTLED_S", 60.0)
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(SIZE))
    read_digest(path)
    assert not (tmp_path / "cache" / "digests").exists()


def test_a_blob_damaged_after_it_was_checked_is_noticed_by_the_next_process(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    key = store.put_blob(os.urandom(SIZE), ".safetensors")
    FolderStore(tmp_path).fetch(key)
    (tmp_path / key).write_bytes(os.urandom(SIZE))
    with pytest.raises(DamagedBlobError, match=key):
        FolderStore(tmp_path).fetch(key)
