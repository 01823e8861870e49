from pathlib import Path

import pytest

from audiotune.partial import whole, write_whole


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "new" / "a.json", "schön")
    assert path.read_bytes() == "schön".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.json", b"old")
    with pytest.raises(RuntimeError, match="half way"):
        _cut_short(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _cut_short(path: Path) -> None:
    with whole(path) as part:
        part.write_bytes(b"ne")
        raise RuntimeError("half way")


def test_the_suffix_stays_for_writers_that_tell_the_format_by_it(tmp_path: Path) -> None:
    with whole(tmp_path / "a.flac") as part:
        assert (part.suffix, part.parent) == (".flac", tmp_path)
        part.write_bytes(b"")


def test_what_a_dead_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with whole(tmp_path / "a") as part:
        left = part
        part.write_bytes(b"1")
    left.symlink_to("/nowhere")
    assert write_whole(tmp_path / "a", b"2").read_bytes() == b"2"
    assert not left.is_symlink()
