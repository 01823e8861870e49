"""Names in zips as Macs, Windows and others write them, and what clouds leave in place of a file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from components.ingest.settings import Settings
from components.ingest.sources import ZipSource, may_be_sound


def write_zip(path: Path, raw_name: bytes, content: bytes = b"sound") -> Path:
    """A zip whose entry has these bytes for a name, without the flag for UTF-8."""
    stand_in = "n" * len(raw_name)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(stand_in, content)
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), raw_name))
    return path


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Größe.wav".encode(), "Größe.wav"),  # a Mac
        ("夜/Jam.wav".encode(), "夜/Jam.wav"),
        ("Größe.wav".encode("cp437"), "Größe.wav"),  # the standard
        ("Größe – Café.wav".encode("cp1252"), "Größe – Café.wav"),
        (b"plain.wav", "plain.wav"),
    ],
)
def test_names_without_a_flag_are_read_as_they_were_meant(tmp_path: Path, raw: bytes, name: str) -> None:
    source = ZipSource(write_zip(tmp_path / "takes.zip", raw), Settings(), tmp_path)
    assert source.files == [name]
    with source.open(name) as path:
        assert path.read_bytes() == b"sound"


def test_a_name_that_leads_out_is_refused_in_every_encoding(tmp_path: Path) -> None:
    source = ZipSource(write_zip(tmp_path / "takes.zip", "../Größe.wav".encode()), Settings(), tmp_path)
    assert source.files == []
    assert "leads out of the zip" in source.refused[0][1]


def test_what_icloud_has_taken_away_is_not_passed_over() -> None:
    assert may_be_sound("night/.take 1.wav.icloud")
    assert not may_be_sound(".notes.txt.icloud")
    assert not may_be_sound("._take.wav")
