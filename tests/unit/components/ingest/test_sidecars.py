"""What people write beside their sounds finds its file, or stops it and is named: nobody is recorded under another's name."""

from __future__ import annotations

import json
import time
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


TWO = ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    "name",
    [
        "Recordings.csv",
        "recordings.CSV",
        "recordings - Sheet1.csv",  # as Google's spreadsheets call it
        "recordings (1).csv",
        "recordings-Tabelle 1.csv",
        "recording.csv",
        "recordings.csv.txt",  # where Windows hides suffixes
        "who plays.csv",  # by its columns
    ],
)
def test_a_table_is_read_whatever_became_of_its_name(tmp_path: Path, name: str) -> None:
    read = reader(tmp_path, TWO, **{name.replace(".", "__"): "file,contributors\na.wav,chi\n"})
    assert [read.facts_about(file).contributors for file in TWO] == [("chi",), ()]


@pytest.mark.parametrize("suffix", ["xlsx", "XLS", "ods", "numbers", "gsheet"])
def test_a_spreadsheets_own_file_stops_its_folder_with_the_cure(tmp_path: Path, suffix: str) -> None:
    read = reader(tmp_path, ["night/a.wav", "b.wav"])
    (tmp_path / f"night/recordings.{suffix}").write_bytes(b"PK\3\4 a spreadsheet")
    read = SidecarReader(FolderSource(tmp_path))
    with pytest.raises(SourceError, match="(?i)save the table as CSV"):
        read.facts_about("night/a.wav")
    assert read.facts_about("b.wav").contributors == ()


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffDateiname;Mitwirkende;Lizenz\r\na.wav;chi;CC0-1.0\r\n",
        "File,Musicians,License\na.wav,“chi”,CC0-1.0\n",
        "Jam of May 2026,,\n,,\nfile,contributors,licence\na.wav,chi,CC0-1.0\n",
        "\n;;;\nfile;contributors;licence;;\na.wav;chi;CC0-1.0\n",
        "“file”,“contributors”,“licence”\n“a.wav”,chi,CC0-1.0\n",
        "file:,Played by,licence\na.wav,chi & chi,CC0-1.0\n",
    ],
)
def test_headers_of_other_hands(tmp_path: Path, table: str) -> None:
    read = reader(tmp_path, TWO, recordings__csv=table)
    facts = read.facts_about("a.wav")
    assert (facts.contributors, facts.licence) == (("chi",), "CC0-1.0")
    assert read.list_unused() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recordings.csv", "file,contributers\na.wav,chi\n"),
        ("recordings.csv", "file,Leute\na.wav,chi and Ana B.\n".replace(" and ", ";")),
        ("recordings.csv", "file,contributors,contributors\na.wav,chi,ana\n"),
        ("a.json", '{"contributers": ["chi"]}'),
        ("a.json", '{"die Band": ["Ana B.", "chi"]}'),
        ("recordings.toml", 'contributers = ["chi"]\n'),
        ("metadata.jsonl", '{"file_name": "a.wav", "contributors": "chi", "band": "ana"}\n'),
    ],
)
def test_a_field_that_seems_to_say_who_plays_is_not_passed_over(tmp_path: Path, name: str, content: str) -> None:
    reader(tmp_path, TWO, **{name.replace(".", "__"): content})
    read = SidecarReader(FolderSource(tmp_path), ["chi", "Chi", "ana", "Ana B."])
    with pytest.raises(SourceError, match="seems to mean 'contributors'"):
        read.facts_about("a.wav")


def test_rows_that_name_different_people_stop_their_file(tmp_path: Path) -> None:
    read = reader(tmp_path, TWO, recordings__csv="file,contributors\na.wav,chi\na.wav,ana\nb.wav,chi\nb.wav,chi\n")
    with pytest.raises(SourceError, match=r"two rows for 'a.wav' name chi and ana"):
        read.facts_about("a.wav")
    assert read.facts_about("b.wav").contributors == ("chi",)
    tables = {"recordings__csv": "file,contributors\na.wav,chi\n", "metadata__csv": "file,contributors\na.wav,ana\n"}
    with pytest.raises(SourceError, match=r"recordings.csv and this table name different people"):
        reader(tmp_path, TWO, **tables).facts_about("a.wav")


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("a.wav", "\u200ba.wav\u200f"),
        ("❤\ufe0f jam.wav", "❤ jam.wav"),
        ("a.wav", "file:///home/chi/jam/a.wav"),
        ("a.wav", "https://band.example/jam/a.wav?dl=1"),
        ("my take.wav", "my%20take.wav"),
        ("a.wav.wav", "a.wav"),
        ("2026.05.01 jam.wav", "2026.05.01 jam"),
        ("take 1..wav", "take 1..wav"),
        ("night/a.wav", "night"),
        ("night/a.wav", "NIGHT\\*.wav"),
    ],
)
def test_a_row_finds_its_file_however_its_name_is_written(tmp_path: Path, file: str, written: str) -> None:
    read = reader(tmp_path, [file, "b.wav"], recordings__csv=f"file,contributors\n{written},chi\n")
    assert [read.facts_about(name).contributors for name in (file, "b.wav")] == [("chi",), ()]
    assert read.list_unused() == []


def test_a_files_own_row_goes_before_that_of_its_folder(tmp_path: Path) -> None:
    table = "file,contributors,words\nnight,chi,dark\nnight/a.wav,ana,\n"
    read = reader(tmp_path, ["night/a.wav", "night/b.wav"], recordings__csv=table)
    assert [read.facts_about(name).contributors for name in ("night/a.wav", "night/b.wav")] == [("ana",), ("chi",)]
    assert read.facts_about("night/a.wav").words == "dark"


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("0001.wav", "1"),  # a spreadsheet took the name for a number
        ("take 01.wav", "take 1"),
        ("größe.wav", "groesse.wav"),
        ("café.wav", "cafe.wav"),
        ("Größe.wav", "GrÃ¶ÃŸe.wav"),
        ("GrÃ¶ÃŸe.wav", "Größe.wav"),
        ("ｔａｋｅ.wav", "take.wav"),
        ("jam – one.wav", "jam - one.wav"),
    ],
)
def test_a_name_in_other_letters_stops_its_file(tmp_path: Path, file: str, written: str) -> None:
    read = reader(tmp_path, [file], recordings__csv=f"file,contributors\n{written},chi\n")
    with pytest.raises(SourceError, match="nearly this file's name"):
        read.facts_about(file)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('{"file_name": 7, "contributors": "chi"}\n["a.wav", "chi"]\n{"file_name": null, "text": "x"}\n', "for '7': no file"),
        ('{"file_name": "a.wav", "text": "two\u2028lines"}\n17\n', "1 row without a file's name"),
        ('{"file_name": {"a": 1}, "text": "x"}\n', "1 row without a file's name"),
    ],
)
def test_lines_of_other_shapes_are_told(tmp_path: Path, table: str, words: str) -> None:
    read = reader(tmp_path, TWO, metadata__jsonl=table)
    assert read.facts_about("b.wav").contributors == ()
    assert words in unused(read)


def test_json_tables_as_rows_and_by_names(tmp_path: Path) -> None:
    read = reader(tmp_path, TWO, metadata__json=json.dumps([{"file_name": "a.wav", "contributors": "chi", "text": "dark"}]))
    assert read.facts_about("a.wav").words == "dark"
    read = reader(tmp_path, TWO, recordings__json=json.dumps({"session": "May", "a.wav": {"contributors": ["ana"]}}))
    assert (read.facts_about("b.wav").session, read.facts_about("b.wav").contributors) == ("May", ())
    with pytest.raises(SourceError, match=r"recordings.json and this table name different people"):
        read.facts_about("a.wav")


def test_empty_cells_below_merged_ones_and_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    read = reader(tmp_path, TWO, recordings__csv="file,contributors\na.wav,chi\nb.wav,\n", a__yaml="contributors: [ana]\n")
    assert "1 rows leave 'contributors' empty" in unused(read)
    assert "a.yaml: a file beside a take that is not read" in unused(read)


def test_a_large_table_that_fits_nothing_takes_no_minutes(tmp_path: Path) -> None:
    files = [f"night/jam number {n} of the attic.wav" for n in range(3000)]
    rows = "".join(f"some other take {n} in the cellar.wav,chi\n" for n in range(20_000))
    read = reader(tmp_path, files, recordings__csv="file,contributors\n" + rows)
    began = time.monotonic()
    assert read.facts_about(files[0]).contributors == ()
    assert time.monotonic() - began < 60
