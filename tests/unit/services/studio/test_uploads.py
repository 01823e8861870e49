"""The studio's uploads: which files are kept, which are refused and why, and names that cannot leave their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.upload import Upload
from audiotune.errors import GovernanceError, SoundError
from audiotune.store import FolderStore
from components.ingest.open_source import open_source
from components.ingest.settings import Settings
from services.studio import uploads
from services.studio.uploads import clean_file_name
from tests.fakes.layout_store import LayoutStore
from tests.fakes.seeded_store import agreement, tone

SAID: dict[str, object] = {
    "uploaded_by": "ana", "contributors": ("ana", "ben"), "session": "Tuesday", "instrument": "", "licence": "CC0-1.0",
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def take(tmp_path: Path, name: str = "take.wav") -> Path:
    return tone(220, 0.3).write(tmp_path / name)


def test_keeps_the_bytes_as_they_came_and_who_plays(store: FolderStore, tmp_path: Path) -> None:
    path = take(tmp_path)
    upload, refused = uploads.store_upload(store, [(path, "my take.wav")], SAID, agreement(), 100)
    assert upload is not None
    assert not refused
    again = Upload.model_validate_json(store.get(upload.key))
    assert again.contributors == ("ana", "ben")
    assert store.get(again.files[0].blob) == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.wav", b"", "0 bytes"),
        ("letter.wav", b"Dear friends, this is not a sound at all. " * 99, "this is a text, no sound file"),
        ("cut.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "nothing of it can be decoded"),
        ("song.exe", b"MZ" + b"\0" * 500, "a Windows program"),
        ("nothing", b"abc", "this is a text"),
        ("takes.zip", b"PK\x03\x04" + b"\0" * 100, "this is a zip archive, no sound file. Unpack it"),
        ("page.mp3", b"<!doctype html><title>Log in</title>", "a page to sign in"),
    ],
)
def test_refuses_what_is_no_recording_in_words(
    store: FolderStore, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    good = take(tmp_path)
    upload, refused = uploads.store_upload(store, [(path, name), (good, "good.wav")], SAID, agreement(), 100)
    assert upload is not None
    assert [file.name for file in upload.files] == ["good.wav"]
    assert [r.name for r in refused] == [name]
    assert reason in refused[0].reason


def test_stores_nothing_when_every_file_is_refused(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    upload, refused = uploads.store_upload(store, [(tmp_path / "x", "a.wav")], SAID, agreement(), 100)
    assert upload is None
    assert len(refused) == 1
    assert list(store.list("")) == []


def test_refuses_a_file_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(b"\0" * 1_000_001)
    with pytest.raises(SoundError, match="larger than 1 MB"):
        uploads.check_recording_file(path, "long.wav", 1)


@pytest.mark.parametrize("people", [(), ("zoe",), ("mallory",), ("../ana",)])
def test_refuses_people_who_are_not_in_the_group(store: FolderStore, tmp_path: Path, people: tuple[str, ...]) -> None:
    with pytest.raises(GovernanceError):
        uploads.store_upload(store, [(take(tmp_path), "a.wav")], {**SAID, "contributors": people}, agreement(), 100)
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("..\\..\\windows\\take.wav", "take.wav"),
        ("/abs/olute.flac", "olute.flac"),
        ("..", "recording"),
        (".hidden.wav", "hidden.wav"),
        ("--set=source.wav", "set=source.wav"),
        ("a\x00b\n.wav", "a_b_.wav"),
        ("<img onerror=x>.wav", "_img onerror=x_.wav"),
        ("\u202efdp.wav", "_fdp.wav"),
        ("Übung №5 🎛.wav", "Übung №5 🎛.wav"),
        ("", "recording"),
    ],
)
def test_names_stay_in_their_folder(given: str, kept: str) -> None:
    assert clean_file_name(given) == kept


def test_a_name_of_any_length_fits_a_file_system() -> None:
    for letter in ("a", "ß", "音", "🎛"):
        name = clean_file_name(letter * 4000 + ".wav")
        assert name.endswith(".wav")
        assert len(name.encode()) < 255


def test_two_files_of_the_same_name_are_both_taken_in(store: FolderStore, tmp_path: Path) -> None:
    one, two = take(tmp_path, "1.wav"), tone(330, 0.2).write(tmp_path / "2.wav")
    upload, _ = uploads.store_upload(store, [(one, "jam.wav"), (two, "jam.wav")], SAID, agreement(), 100)
    assert upload is not None
    source = open_source(Settings(source=upload.source), tmp_path / "scratch", store)
    found = {}
    for name in source.files:
        with source.open(name) as path:
            found[name] = path.read_bytes()
    assert found == {"jam.wav": one.read_bytes(), "jam (2).wav": two.read_bytes()}
