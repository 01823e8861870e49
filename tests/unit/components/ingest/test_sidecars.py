"""What people write beside their sounds finds its file, or stops it and is named: nobody is recorded under another's name."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from audiotune.errors import SourceError
from components.ingest.sidecars import SidecarReader
from components.ingest.sources import FolderSource


def reader(folder: Path, names: list[str], **beside: str | bytes) -> SidecarReader:
    """`beside`: file name with `__` for a dot -> content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    for name, content in beside.items():
        (folder / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    return SidecarReader(FolderSource(folder))


def unused(read: SidecarReader) -> str:
    return "; ".join(f"{place}: {words}" for place, words in read.list_unused())


@pytest.mark.parametrize(
    ("file", "written"),
    [
        (unicodedata.normalize("NFD", "Café.wav"), unicodedata.normalize("NFC", "Café.wav")),
        (unicodedata.normalize("NFC", "Größe.wav"), unicodedata.normalize("NFD", "Größe")),
        ("Jam.wav", "jam.WAV"),
        ("night/roof.wav", "night\\roof.wav"),
        ("night/roof.wav", "./night//roof.wav"),
        ("night/roof.wav", "roof.wav"),
    ],
)
def test_a_row_finds_its_file_however_the_name_is_coded(tmp_path: Path, file: str, written: str) -> None:
    read = reader(tmp_path, [file, "attic.wav"], recordings__csv=f"file,contributors\n{written},chi\n")
    assert read.facts_about(file).contributors == ("chi",)
    assert read.facts_about("attic.wav").contributors == ()
    assert read.list_unused() == []


@pytest.mark.parametrize("table", ["file,contributors\natic.wav,chi\n", "file,contributors\nAttic 1.wav,chi\nattic.flac,chi\n"])
def test_a_slip_in_a_name_stops_the_file_and_names_both(tmp_path: Path, table: str) -> None:
    read = reader(tmp_path, ["attic.wav"], recordings__csv=table)
    written = table.splitlines()[-1].partition(",")[0]
    if written == "attic.flac":  # the same name without its suffix is the file
        assert read.facts_about("attic.wav").contributors == ("chi",)
        assert "'Attic 1.wav'" in unused(read)
        return
    with pytest.raises(SourceError, match="'atic.wav'.*nearly this file's name"):
        read.facts_about("attic.wav")
    assert "recordings.csv: the row for 'atic.wav': no file has this name, nearly the name of attic.wav" in unused(read)


def test_another_number_is_another_take(tmp_path: Path) -> None:
    read = reader(tmp_path, ["jam_11.wav"], recordings__csv="file,contributors\njam_10.wav,chi\n")
    assert read.facts_about("jam_11.wav").contributors == ()
    assert "'jam_10.wav'" in unused(read)


def test_a_file_with_its_own_row_is_not_stopped_by_a_slip(tmp_path: Path) -> None:
    read = reader(tmp_path, ["attic.wav"], recordings__csv="file,contributors\nattic.wav,ana\natic.wav,chi\n")
    assert read.facts_about("attic.wav").contributors == ("ana",)
    assert "'atic.wav'" in unused(read)


@pytest.mark.parametrize(
    "table",
    [
        b"file;contributors;words\njam.wav;chi, ben;dark\n",
        b"sep=;\r\nFile;Contributors;Words\r\njam.wav;chi, ben;dark\r\n",
        b"file\tcontributors\twords\njam.wav\tchi ben\tdark\n",
        "file,contributors,words\njam.wav,chi;ben,dark\n".encode("utf-16"),
        "file\tcontributors\twords\njam.wav\tchi ben\tdark\n".encode("utf-16-le"),
        b'\xef\xbb\xbf"File", Contributors, "Words"\njam.wav,"chi,ben",dark\n\n',
        b"file_name,contributors,text\njam.wav,chi;ben,dark\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, table: bytes) -> None:
    facts = reader(tmp_path, ["jam.wav"], recordings__csv=table).facts_about("jam.wav")
    assert (facts.contributors, facts.words) == (("chi", "ben"), "dark")


def test_a_cell_too_many_is_not_cut_off(tmp_path: Path) -> None:
    """A comma without quotes would lose the second player."""
    read = reader(tmp_path, ["jam.wav"], recordings__csv="file,contributors\njam.wav,ana,ben\n")
    with pytest.raises(SourceError, match="3 cells, the table has 2 columns"):
        read.facts_about("jam.wav")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata__csv", "file_name,text,bpm\njam.wav,a dark drone,120\n"),
        ("metadata__jsonl", json.dumps({"file_name": "jam.wav", "caption": "a dark drone", "bpm": 120}) + "\n"),
        ("captions__tsv", "path\tprompt\tbpm\njam.wav\ta dark drone\t120\n"),
    ],
)
def test_tables_of_other_programs(tmp_path: Path, name: str, content: str) -> None:
    read = reader(tmp_path, ["jam.wav"], **{name: content})
    assert read.facts_about("jam.wav").words == "a dark drone"
    assert "columns that are not used: bpm" in unused(read)


def test_our_table_counts_before_others(tmp_path: Path) -> None:
    tables = {"recordings__csv": "file,words\njam.wav,ours\n", "metadata__csv": "file,words,licence\njam.wav,theirs,CC0-1.0\n"}
    facts = reader(tmp_path, ["jam.wav"], **tables).facts_about("jam.wav")
    assert (facts.words, facts.licence) == ("ours", "CC0-1.0")


def test_another_programs_table_without_file_names_stops_nothing(tmp_path: Path) -> None:
    read = reader(tmp_path, ["jam.wav"], metadata__csv="id,text\n1,dark\n")
    assert read.facts_about("jam.wav").words == ""
    assert "none of them names a file" in unused(read)


def test_a_table_of_ours_without_file_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column 'file'"):
        reader(tmp_path, ["jam.wav"], recordings__csv="name,who\njam.wav,chi\n").facts_about("jam.wav")


def test_sidecars_find_their_file_however_the_name_is_coded(tmp_path: Path) -> None:
    sound, sidecar = unicodedata.normalize("NFD", "Café.wav"), unicodedata.normalize("NFC", "café.JSON".replace("JSON", "json"))
    read = reader(tmp_path, [sound])
    (tmp_path / sidecar).write_text('{"contributors": ["chi"]}')
    read = SidecarReader(FolderSource(tmp_path))
    assert read.facts_about(sound).contributors == ("chi",)


def test_a_sidecar_of_nearly_a_files_name_stops_it(tmp_path: Path) -> None:
    read = reader(tmp_path, ["attic.wav", "cellar.wav"], atic__json='{"contributors": ["chi"]}', notes__txt="bring cables")
    with pytest.raises(SourceError, match="nearly this file's name"):
        read.facts_about("attic.wav")
    assert read.facts_about("cellar.wav").contributors == ()
    assert unused(read) == "atic.json: nearly the name of attic.wav"


@pytest.mark.parametrize("name", ["attic.toml", "recordings.toml"])
def test_a_sidecar_that_would_take_minutes_is_refused_and_named(tmp_path: Path, name: str) -> None:
    read = reader(tmp_path, ["attic.wav", "night/roof.wav"], **{name.replace(".", "__"): ".".join("a" * 100_000) + " = 1"})
    with pytest.raises(SourceError, match=r"line 1 has more than 50 dots") as refused:
        read.facts_about("attic.wav")
    assert name in str(refused.value)
    if name == "attic.toml":
        assert read.facts_about("night/roof.wav").contributors == ()
