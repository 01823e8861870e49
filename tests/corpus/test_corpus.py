"""Every file of the set that is made on the spot becomes what it must: whole ones come in with all their frames and their level."""

import pytest

from tests.corpus.compare_with_ffmpeg import compare_file
from tests.corpus.make_files import MadeFile, make_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[MadeFile]:
    return list(make_files(tmp_path_factory.mktemp("corpus")))


def test_the_set_is_large(made: list[MadeFile]) -> None:
    assert len(made) >= 300
    assert len({file.path for file in made}) == len(made)


def test_every_file_becomes_what_it_must(made: list[MadeFile]) -> None:
    faults = [f"{file.path.name}: {fault}" for file in made if (fault := find_fault(file))]
    assert faults == []


def find_fault(file: MadeFile) -> str:
    """What is wrong with ingest's answer; empty when it is right."""
    found = compare_file(file.path, file.path.name)
    if (found.kind == "refused") != (file.fate == "refused"):
        return f"must be {file.fate}: {found.kind}, {found.words}"
    if found.described is None:
        return ""
    if found.described.ends_early != (file.fate == "ends early"):
        return f"must be {file.fate}: {found.words}"
    if file.judged and found.kind == "differs":
        return found.words
    if file.frames is not None and abs(found.described.frames - file.frames) > file.slack:
        return f"{found.described.frames} frames, {file.frames} are in it"
    peak = found.described.description.peak_dbfs
    return "" if peak is not None and -14 < peak < -5 else f"peak {peak}: the sound in it has -10.5 dBFS"
