"""Hostile and broken input: each refused with its reason, the good file beside it taken, nothing half-stored."""

from __future__ import annotations

import http.server
import json
import os
import stat
import struct
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.errors import AgreementError, AudioTuneError, SourceError, StoreError
from audiotune.governance import read_consents
from audiotune.store import FolderStore, compute_digest
from components.ingest.remote_sources import HubSource, StoreSource, download_address, download_drive
from components.ingest.settings import Settings
from components.ingest.sources import ZipSource
from components.ingest.step import run_step
from tests.fakes.failing_store import FailingStore
from tests.fakes.foreign_sounds import cut_short, wave, write_silent_film, write_wav, write_with_av
from tests.fakes.hub import FakeHub

AGREEMENT = """
group = "The Testers"
version = 1
recordings_licence = "LicenseRef-members-only"
accepted_licences = ["CC0-1.0"]
weights_licence = "LicenseRef-co-owned"
allowed_uses = ["store", "train"]
members = [
  { id = "ana", name = "Ana", consents_to = ["store", "train"] },
  { id = "chi", name = "Chi" },
  { id = "dee", name = "Dee", consents_to = ["store"], left = true },
]
"""


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """A folder with one good file, to which each test adds a bad one."""
    write_wav(tmp_path / "takes" / "good.wav", wave(0.3, seed=77))
    return tmp_path / "takes"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def ingest(store: FolderStore, source: Path | str, **changes: object) -> tuple[list[Recording], str]:
    base = store.root.parent
    (base / "agreement.toml").write_text(AGREEMENT)
    given = {"agreement": str(base / "agreement.toml"), "contributors": "ana", "likenesses": False, **changes}
    out = {name: base / name for name in ("recordings", "report", "metrics")}
    run_step(Settings.model_validate({**given, "source": str(source)}), store, lambda share, words: None, **out)
    return load_manifest(out["recordings"], "recordings", Recording).rows, out["report"].read_text()


def assert_whole(store: FolderStore, rows: list[Recording]) -> None:
    """Every blob is what its name says, every one belongs to a row, and no part is left."""
    blobs = {entry.key for entry in store.list("blobs/")}
    assert all(compute_digest(store.root / key) in key for key in blobs)
    assert blobs == {key for row in rows for key in (row.blob, row.fingerprint)}
    assert not list((store.root / ".parts").iterdir())


def _text(path: Path) -> None:
    path.write_text("no sound here, only words " * 100)


def _header_only(path: Path) -> None:
    write_wav(path, np.zeros((0, 2), np.float32))


def _nan(path: Path) -> None:
    frames = wave(0.5)
    frames[1000] = np.nan
    write_wav(path, frames, subtype="FLOAT")


def _infinite(path: Path) -> None:
    frames = wave(0.5)
    frames[-1] = -np.inf
    write_wav(path, frames, subtype="FLOAT")


def _absurd(path: Path) -> None:
    write_wav(path, wave(0.5) * np.float32(1e30), subtype="FLOAT")


def _cut(format: str, subtype: str) -> Callable[[Path], None]:
    """Less than a second is left."""
    return lambda path: void(cut_short(write_wav(path, wave(1.4), subtype=subtype, format=format)))


def void(_: object) -> None:
    """Makes a maker that returns nothing."""


def _lying_chunk(path: Path) -> None:
    """A data chunk that claims 3.9 GB."""
    data = bytearray(write_wav(path, wave(0.5), subtype="PCM_16").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 3_900_000_000)
    path.write_bytes(data)


def _no_rate(path: Path) -> None:
    data = bytearray(write_wav(path, wave(0.5), subtype="PCM_16").read_bytes())
    data[24:28] = bytes(4)
    path.write_bytes(data)


def _playlist(path: Path) -> None:
    """FFmpeg would follow a playlist to other files of this machine."""
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "zero length": ("bad.wav", lambda p: p.write_bytes(b""), "the file is empty"),
    "wrong suffix": ("bad.wav", _text, "no sound file"),
    "picture with a sound's name": ("bad.flac", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), "no sound file"),
    "program with a sound's name": ("bad.mp3", lambda p: p.write_bytes(b"\x7fELF" + bytes(500)), "no sound file"),
    "only zeros": ("bad.wav", lambda p: p.write_bytes(bytes(4096)), "no sound file"),
    "only a header": ("bad.wav", _header_only, "no frames"),
    "one frame": ("bad.wav", lambda p: write_wav(p, wave(0.5)[:1]), r"shorter than 0.01 s \(1 frame\)"),
    "NaN": ("bad.wav", _nan, "NaN or infinite"),
    "infinite": ("bad.wav", _infinite, "NaN or infinite"),
    "far beyond full scale": ("bad.wav", _absurd, "beyond full scale"),
    "192 kHz": ("bad.wav", lambda p: write_wav(p, wave(0.2, rate=192_000), rate=192_000), "192000 Hz is above"),
    "40 channels": ("bad.wav", lambda p: write_wav(p, wave(0.2, channels=40)), "40 channels"),
    "cut WAV": ("bad.wav", _cut("WAV", "PCM_24"), "cut short"),
    "cut RF64": ("bad.wav", _cut("RF64", "PCM_24"), "cut short"),
    "cut AIFF": ("bad.aiff", _cut("AIFF", "PCM_24"), "cut short"),
    "cut FLAC": ("bad.flac", _cut("FLAC", "PCM_16"), "breaks off|cut short"),
    "cut OGG": ("bad.ogg", _cut("OGG", "VORBIS"), "cut short"),
    "cut MP3": ("bad.mp3", _cut("MP3", "MPEG_LAYER_III"), "cut short"),
    "cut M4A": ("bad.m4a", lambda p: cut_short(write_with_av(p, "aac", "ipod", wave(2.0))), "cut short or damaged"),
    "chunk that lies": ("bad.wav", _lying_chunk, "cut short"),
    "rate of zero": ("bad.wav", _no_rate, "no rate"),
    "film without sound": ("bad.mp4", write_silent_film, "only pictures"),
    "playlist to other files": ("bad.wav", _playlist, "no sound file"),
    "link out of the folder": ("bad.wav", lambda p: p.symlink_to("/etc/hostname"), "leads out of the folder"),
    "link to nowhere": ("bad.wav", lambda p: p.symlink_to("gone.wav"), "leads nowhere"),
    "link to itself": ("bad.wav", lambda p: p.symlink_to("bad.wav"), "leads nowhere"),
    "link to a folder": ("bad", lambda p: p.symlink_to(p.parent), "links to folders|out of the folder"),
    "pipe": ("bad.wav", os.mkfifo, "no regular file"),
    "zip inside": ("bad.zip", lambda p: zipfile.ZipFile(p, "w").close(), "no sound file"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files(takes: Path, store: FolderStore, kind: str) -> None:
    name, make, reason = BAD_FILES[kind]
    make(takes / name)
    rows, report = ingest(store, takes)
    assert [row.name for row in rows] == ["good.wav"]
    assert_whole(store, rows)
    (takes / "good.wav").unlink()
    with pytest.raises(SourceError, match=reason):
        ingest(store, takes)
    assert name in report


BAD_FACTS: dict[str, tuple[dict[str, str], str]] = {
    "cut JSON sidecar": ({"bad.json": '{"contributors": ["an'}, "sidecar is cut or damaged"),
    "sidecar of endless depth": ({"bad.json": "[" * 100_000}, "sidecar is cut or damaged"),
    "sidecar that is no text": ({"bad.txt": "\udcff"}, "no UTF-8"),
    "contributors that are a number": ({"bad.json": '{"contributors": 7}'}, "must be a list"),
    "licence that is a list": ({"bad.json": '{"licence": ["CC0-1.0"]}'}, "licence must be text"),
    "unknown member": ({"bad.json": '{"contributors": ["mallory"]}'}, "'mallory' is no member"),
    "one unknown of two": ({"bad.json": '{"contributors": ["ana", "eve"]}'}, "'eve' is no member"),
    "no consent": ({"bad.json": '{"contributors": ["chi"]}'}, "waits for Chi"),
    "member who left": ({"bad.json": '{"contributors": ["dee"]}'}, "dee has left the group"),
    "licence not accepted": ({"bad.json": '{"licence": "CC-BY-NC-4.0"}'}, "'CC-BY-NC-4.0' is not accepted"),
}


@pytest.mark.parametrize("kind", BAD_FACTS)
def test_bad_facts(takes: Path, store: FolderStore, kind: str) -> None:
    files, reason = BAD_FACTS[kind]
    write_wav(takes / "bad.wav", wave(0.3, seed=5))
    for name, text in files.items():
        (takes / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    rows, report = ingest(store, takes)
    assert [row.name for row in rows] == ["good.wav"]
    assert_whole(store, rows)
    (takes / "good.wav").unlink()
    with pytest.raises(SourceError, match=reason):
        ingest(store, takes)
    assert "bad.wav" in report
    standing = {
        "ana": {"store", "train"},
        "chi": set(),
        "dee": {"store"},
    }  # who is named is remembered, and agrees to no more than that
    for (_, who), record in read_consents(store, [compute_digest(takes / "bad.wav")]).items():
        assert set(record.uses) <= standing[who]


def test_a_source_without_a_contributor_is_refused(takes: Path, store: FolderStore) -> None:
    with pytest.raises(SourceError, match="nobody is named as contributor"):
        ingest(store, takes, contributors="")


# ---- zips ----


def _zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in entries:
            out.writestr(name, data)
    return path


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


BAD_ENTRIES: dict[str, tuple[str | zipfile.ZipInfo, bytes, str]] = {
    "zip slip": ("../../bad.wav", b"RIFF", "leads out of the zip"),
    "absolute name": ("/etc/bad.wav", b"RIFF", "leads out of the zip"),
    "name of another system": ("..\\..\\bad.wav", b"RIFF", "leads out of the zip"),
    "drive letter": ("C:\\bad.wav", b"RIFF", "leads out of the zip"),
    "link": (_link("bad.wav"), b"/etc/passwd", "a link, not a file"),
    "bomb": ("bad.wav", bytes(200 << 20), "a zip bomb"),
}


@pytest.mark.parametrize("kind", BAD_ENTRIES)
def test_bad_zip_entries(takes: Path, store: FolderStore, tmp_path: Path, kind: str) -> None:
    name, data, reason = BAD_ENTRIES[kind]
    path = _zip(tmp_path / "bad.zip", ("good.wav", (takes / "good.wav").read_bytes()), (name, data))
    rows, report = ingest(store, path)
    assert [row.name for row in rows] == ["good.wav"]
    assert reason in report
    assert_whole(store, rows)
    assert not list(tmp_path.rglob("bad.wav"))


def test_zip_cut_short(takes: Path, store: FolderStore, tmp_path: Path) -> None:
    path = _zip(tmp_path / "bad.zip", ("good.wav", (takes / "good.wav").read_bytes()))
    with pytest.raises(SourceError, match="zip is cut or damaged"):
        ingest(store, cut_short(path))


def test_zip_with_a_damaged_entry(takes: Path, store: FolderStore, tmp_path: Path) -> None:
    good = (takes / "good.wav").read_bytes()
    path = _zip(tmp_path / "bad.zip", ("a.wav", good), ("b.wav", write_wav(tmp_path / "b.wav", wave(0.3)).read_bytes()))
    data = bytearray(path.read_bytes())
    data[200:232] = bytes(32)
    path.write_bytes(data)
    rows, report = ingest(store, path)
    assert [row.name for row in rows] == ["b.wav"]
    assert "cannot be unpacked" in report


def test_zip_that_unpacks_to_too_much_in_all(takes: Path, tmp_path: Path) -> None:
    good = (takes / "good.wav").read_bytes()
    path = _zip(tmp_path / "many.zip", *((f"{i}.wav", good) for i in range(4)))
    source = ZipSource(path, Settings(largest_total_gib=len(good) * 2.5 / (1 << 30)), tmp_path)
    assert source.files == ["0.wav", "1.wav"]
    assert "more than largest_total_gib" in source.refused[0][1]


def test_too_many_files(takes: Path, store: FolderStore) -> None:
    write_wav(takes / "second.wav", wave(0.2))
    with pytest.raises(SourceError, match="2 files are too many"):
        ingest(store, takes, most_files=1)


def test_a_file_that_is_too_large_or_too_long(takes: Path, store: FolderStore) -> None:
    with pytest.raises(SourceError, match="larger than largest_file_gib"):
        ingest(store, takes, largest_file_gib=1e-6)
    with pytest.raises(SourceError, match="longer than"):
        ingest(store, takes, longest_h=0.2 / 3600)


# ---- stores ----


@pytest.mark.parametrize("writes", range(6))
def test_a_store_that_fails_midway_holds_no_half_things(takes: Path, tmp_path: Path, writes: int) -> None:
    """Agreement, blob, fingerprint, description, consent, manifest: it may fail before each of them."""
    failing = FailingStore(tmp_path / "store", writes)
    with pytest.raises(StoreError, match="disk is full"):
        ingest(failing, takes)
    assert not list(failing.list("manifests/"))
    assert not (tmp_path / "recordings").exists()
    healed = FolderStore(tmp_path / "store")
    rows, _ = ingest(healed, takes)
    assert_whole(healed, rows)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_really_full_disk(takes: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = FolderStore(disk / "store")
        with pytest.raises(StoreError, match="disk is full"):
            ingest_elsewhere(store, takes, tmp_path)
        assert not list(store.list("manifests/"))
        assert not list(store.list("blobs/"))
        assert not list((store.root / ".parts").iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def ingest_elsewhere(store: FolderStore, takes: Path, folder: Path) -> None:
    (folder / "agreement.toml").write_text(AGREEMENT)
    settings = Settings(source=str(takes), agreement=str(folder / "agreement.toml"), contributors="ana")
    out = {name: folder / name for name in ("recordings", "report", "metrics")}
    run_step(settings, store, lambda share, words: None, **out)


def test_a_store_that_was_taken_away(takes: Path, store: FolderStore) -> None:
    ingest(store, takes)
    write_wav(takes / "next.wav", wave(0.3, seed=6))
    parts = store.root / ".parts"
    parts.rmdir()
    parts.write_text("the disk is gone, a file lies where it was mounted")
    with pytest.raises(StoreError):
        ingest(store, takes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("group = ", "no TOML"),
        ('group = "x"', "does not fit"),
        (AGREEMENT.replace("Testers", "Others"), "is in force and differs"),
    ],
)
def test_a_bad_agreement(takes: Path, store: FolderStore, tmp_path: Path, text: str, reason: str) -> None:
    ingest(store, takes)
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(AgreementError, match=reason):
        ingest(store, takes, agreement=str(tmp_path / "other.toml"))


# ---- other places ----


@pytest.fixture
def web(takes: Path) -> Iterator[str]:
    """A small web server on this machine."""
    good = (takes / "good.wav").read_bytes()

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"/gone.wav": 404, "/away.wav": 302}.get(self.path, 200)
            self.send_response(status)
            if self.path == "/away.wav":
                self.send_header("Location", "file:///etc/passwd")
            length = len(good) * (2 if self.path == "/cut.wav" else 1)
            if self.path != "/endless.wav":
                self.send_header("Content-Length", str(length if status == 200 else 0))
            self.end_headers()
            if status == 200:
                self.wfile.write(good)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address(web: str, store: FolderStore) -> None:
    rows, _ = ingest(store, f"{web}/jam.wav?key=secret", private_addresses=True)
    assert [row.name for row in rows] == ["jam.wav"]


@pytest.mark.parametrize(
    ("page", "changes", "reason"),
    [
        ("/jam.wav", {"private_addresses": False}, "inside a private network"),
        ("/gone.wav", {}, "404|Not Found"),
        ("/cut.wav", {}, "of .* bytes came|more expected"),
        ("/away.wav", {}, "not allowed|unknown"),
        ("/jam.wav", {"largest_file_gib": 1e-6}, "larger than largest_file_gib"),
        ("/endless.wav", {"largest_file_gib": 1e-6}, "larger than largest_file_gib"),
    ],
)
def test_bad_addresses(web: str, tmp_path: Path, page: str, changes: dict[str, object], reason: str) -> None:
    settings = Settings.model_validate({"private_addresses": True, **changes})
    with pytest.raises(SourceError, match=reason):
        download_address(f"{web}{page}", settings, tmp_path)


@pytest.mark.parametrize(
    "address", ["http://localhost:1/x.wav", "http://[::1]:1/x.wav", "http://", "http://user:secret@127.0.0.1:1/"]
)
def test_addresses_that_lead_nowhere_keep_secrets(tmp_path: Path, address: str) -> None:
    with pytest.raises(SourceError) as refused:
        download_address(address, Settings(), tmp_path)
    assert "secret" not in str(refused.value)


def test_an_object_store(takes: Path, store: FolderStore, tmp_path: Path) -> None:
    """The same code reads a bucket; here the bucket is a folder store."""
    bucket = FolderStore(tmp_path / "bucket")
    bucket.put("jams/good.wav", (takes / "good.wav").read_bytes())
    bucket.put("jams/large.wav", bytes(100_000))
    source = StoreSource(bucket, Settings(largest_file_gib=90_000 / (1 << 30)))
    assert source.files == ["jams/good.wav"]
    assert source.refused == [("jams/large.wav", "it is larger than largest_file_gib")]
    bucket.delete("jams/good.wav")
    with pytest.raises(SourceError, match="removed while"), source.open("jams/good.wav"):
        pass
    with pytest.raises(SourceError, match="nothing lies under"):
        StoreSource(FolderStore(tmp_path / "empty"), Settings())


def test_a_hub_data_set(takes: Path, tmp_path: Path) -> None:
    files = ["README.md", "jam/a.wav", "jam/b.wav", "other/c.wav"]
    hub = FakeHub({"ana/jams": dict.fromkeys(files, write_wav(tmp_path / "a.wav", wave(0.2)).read_bytes())})
    source = HubSource("ana/jams:jam", Settings(), tmp_path, hub)
    assert source.files == ["jam/a.wav", "jam/b.wav"]
    with source.open("jam/a.wav") as path:
        assert path.exists()
    assert not path.exists()
    with pytest.raises(SourceError, match="nothing lies under"):
        HubSource("ana/jams:none", Settings(), tmp_path, hub)


def test_google_drive(tmp_path: Path) -> None:
    def gives(**given: str) -> None:
        write_wav(Path(given["output"]) / "jam.wav", wave(0.2))

    def refuses(**given: str) -> None:
        raise RuntimeError("Cannot retrieve the public link of the file")

    (tmp_path / "a").mkdir()
    assert download_drive("1AbCdEfGhIjKl", tmp_path / "a", gives, refuses).name == "jam.wav"
    for name, file in (("b", refuses), ("c", lambda **given: None)):
        (tmp_path / name).mkdir()
        with pytest.raises(SourceError, match="share it with everybody|Share it with everybody"):
            download_drive("1AbCdEfGhIjKl", tmp_path / name, file, file)
    with pytest.raises(SourceError, match="no Google Drive id"):
        download_drive("../../etc", tmp_path, gives, gives)


def test_every_refusal_names_a_cure(takes: Path, store: FolderStore) -> None:
    (takes / "bad.wav").write_bytes(b"")
    (takes / "good.wav").unlink()
    with pytest.raises(AudioTuneError) as refused:
        ingest(store, takes)
    assert refused.value.cure
    assert json.dumps(str(refused.value)).count("\\n") == 0
