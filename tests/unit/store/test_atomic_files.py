import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audiotune.store.atomic_files import replace_atomically, write_atomic_file


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = write_atomic_file(tmp_path / "new" / "a.json", "schön")
    assert path.read_bytes() == "schön".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_atomic_file(tmp_path / "a.json", b"old")
    with pytest.raises(RuntimeError, match="half way"):
        _cut_short(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_path_at_once_do_not_cut_each_other(tmp_path: Path) -> None:
    path, both_began = tmp_path / "a", threading.Barrier(2, timeout=20)

    def write(word: bytes) -> None:
        with replace_atomically(path) as part:
            part.write_bytes(word)
            both_began.wait()
            part.write_bytes(part.read_bytes() + word)

    with ThreadPoolExecutor(2) as writers:
        for done in [writers.submit(write, word) for word in (b"one", b"two")]:
            done.result(20)
    assert path.read_bytes() in (b"oneone", b"twotwo")
    assert list(tmp_path.iterdir()) == [path]


def _cut_short(path: Path) -> None:
    with replace_atomically(path) as part:
        part.write_bytes(b"ne")
        raise RuntimeError("half way")


def test_the_suffix_stays_for_writers_that_tell_the_format_by_it(tmp_path: Path) -> None:
    with replace_atomically(tmp_path / "a.flac") as part:
        assert (part.suffix, part.parent) == (".flac", tmp_path)
        part.write_bytes(b"")


def test_a_left_temporary_file_is_replaced(tmp_path: Path) -> None:
    with replace_atomically(tmp_path / "a") as part:
        left = part
        part.write_bytes(b"1")
    left.symlink_to("/nowhere")
    assert write_atomic_file(tmp_path / "a", b"2").read_bytes() == b"2"
    assert not left.is_symlink()
