"""Ingest of valid recordings: their descriptions, their keys, and no work done twice."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.manifest import Manifest, fetch_manifest, load_manifest
from audiotune.domain.recording import Recording
from audiotune.errors import AgreementError, SourceError
from audiotune.governance import read_consents, read_current_agreement
from audiotune.store import FolderStore
from components.executor import StepResult
from components.ingest.file_description import describe_file
from components.ingest.settings import Settings
from components.ingest.sources import ZipSource
from components.ingest.step import run_step
from tests.fakes.fades import apply_fades
from tests.fakes.foreign_sounds import RATE, cut_short, wave, write_wav, write_with_av
from tests.fakes.layout_store import LayoutStore

AGREEMENT = """
group = "The Testers"
version = 1
recordings_licence = "LicenseRef-members-only"
accepted_licences = ["CC0-1.0"]
weights_licence = "LicenseRef-co-owned"
[[members]]
id = "ana"
name = "Ana"
consents_to = ["store", "train"]
[[members]]
id = "ben"
name = "Ben"
consents_to = ["store", "train"]
[[members]]
id = "chi"
name = "Chi"
[[members]]
id = "dee"
name = "Dee"
consents_to = ["store"]
left = true
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    (tmp_path / "takes").mkdir()
    return tmp_path / "takes"


def ingest(store: FolderStore, takes: Path | str, **changes: object) -> tuple[StepResult, Manifest[Recording], str]:
    """Result, manifest and report."""
    base = Path(store.root).parent
    (base / "agreement.toml").write_text(AGREEMENT)
    given = {"agreement": str(base / "agreement.toml"), "contributors": "ana", **changes, "source": str(takes)}
    out = {name: base / name for name in ("recordings", "report", "metrics")}
    result = run_step(Settings.model_validate(given), store, lambda share, words: None, **out)
    return result, load_manifest(out["recordings"], "recordings", Recording), out["report"].read_text()


def test_a_folder(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "first.wav", wave(1.5, seed=1))
    write_wav(takes / "night" / "second.flac", wave(1.0, seed=2), subtype="PCM_16", format="FLAC")
    (takes / "notes.md").write_text("no sound")
    result, manifest, report = ingest(store, takes, session="attic", instrument="System 100", contributors="ana, ben")
    assert [row.name for row in manifest.rows] == ["first.wav", "night/second.flac"]
    first = manifest.rows[0]
    assert (first.format, first.bit_depth, first.sample_rate_hz, first.channels, first.frames) == (
        "WAV PCM_24",
        24,
        RATE,
        2,
        72_000,
    )
    assert first.contributors == ("ana", "ben")
    assert (first.session, first.instrument, first.licence) == ("attic", "System 100", "LicenseRef-members-only")
    assert store.fetch(first.blob).read_bytes() == (takes / "first.wav").read_bytes()
    assert first.id in first.blob
    assert fetch_manifest(store, str(result.parameters["recordings_key"]), "recordings", Recording).rows == manifest.rows
    assert result.metrics["recordings"] == 2
    assert report.startswith("<!doctype html>")
    assert "night/second.flac" in report
    assert "notes.md" not in report


def test_consent_is_recorded_for_each_contributor(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    _, manifest, _ = ingest(store, takes, contributors="ana,ben")
    consents = read_consents(store, [manifest.rows[0].id])
    assert {who for _, who in consents} == {"ana", "ben"}
    assert all(consent.uses == ("store", "train") for consent in consents.values())


def test_the_agreement_is_put_in_force_once(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    with pytest.raises(AgreementError, match="no agreement"):
        ingest(store, takes, agreement="")
    ingest(store, takes)
    ingest(store, takes, agreement="")
    agreement = read_current_agreement(store)
    assert agreement is not None
    assert agreement.group == "The Testers"


def test_nothing_is_done_twice(store: FolderStore, takes: Path) -> None:
    for seed in range(3):
        write_wav(takes / f"{seed}.wav", wave(seed=seed))
    first, before, _ = ingest(store, takes)
    stored = {entry.key: entry.modified for entry in store.list("")}
    second, after, _ = ingest(store, takes)
    assert first.metrics["reused"] == 0
    assert second.metrics["reused"] == 3
    assert after.rows == before.rows
    changed = {entry.key for entry in store.list("") if stored.get(entry.key) != entry.modified}
    assert changed == {first.parameters["recordings_key"]}  # the same manifest, written again


def test_a_damaged_description_is_made_anew(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    _, before, _ = ingest(store, takes)
    store.put(next(entry.key for entry in store.list("descriptions/")), b'{"cut')
    result, after, _ = ingest(store, takes)
    assert result.metrics["reused"] == 0
    assert after.rows == before.rows


def test_the_same_bytes_are_one_recording(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    shutil.copy(takes / "a.wav", takes / "copy of a.wav")
    result, manifest, report = ingest(store, takes)
    assert len(manifest.rows) == 1
    assert result.metrics["same_bytes"] == 1
    assert "copy of a.wav" in report


def test_likenesses_are_reported_and_refused_nowhere(store: FolderStore, takes: Path, tmp_path: Path) -> None:
    long = wave(8.0, seed=1)
    long[: 8 * RATE : 1] *= (1 + 0.9 * np.sign(np.sin(np.arange(len(long)) / 3000.0) ** 2 - 0.5))[:, None].astype(np.float32)
    write_wav(takes / "jam.wav", long)
    ingest(store, takes)
    other = tmp_path / "other"
    write_wav(other / "jam.mp3", long * 0.5, subtype="MPEG_LAYER_III", format="MP3")
    write_wav(other / "stranger.wav", wave(4.0, seed=9))
    _, manifest, report = ingest(store, other)
    rows = {row.name: row for row in manifest.rows}
    assert [like.kind for like in rows["jam.mp3"].likenesses] == ["same_sound"]
    assert rows["stranger.wav"].likenesses == ()
    assert "the same sound as" in report


SIDECARS = {
    "json": ("take.json", json.dumps({"contributors": ["ben"], "licence": "CC0-1.0", "caption": "low drone", "session": "s"})),
    "long json": (
        "take.wav.json",
        json.dumps({"contributors": "ben", "license": "CC0-1.0", "words": "low drone", "session": "s"}),
    ),
    "toml": ("take.toml", 'contributors = ["ben"]\nlicence = "CC0-1.0"\nwords = "low drone"\nsession = "s"'),
    "table": ("recordings.toml", 'session = "s"\n["take.wav"]\ncontributors = ["ben"]\nlicence = "CC0-1.0"\nwords = "low drone"'),
    "csv": ("recordings.csv", "file,contributors,licence,words,session\ntake.wav,ben,CC0-1.0,low drone,s\n"),
}


@pytest.mark.parametrize("kind", SIDECARS)
def test_sidecars_overrule_options(store: FolderStore, takes: Path, kind: str) -> None:
    write_wav(takes / "take.wav")
    name, text = SIDECARS[kind]
    (takes / name).write_text(text)
    _, manifest, _ = ingest(store, takes, contributors="ana", session="other", instrument="Buchla")
    row = manifest.rows[0]
    assert row.contributors == ("ben",)
    assert (row.licence, row.session, row.instrument, row.words) == ("CC0-1.0", "s", "Buchla", "low drone")


def test_words_in_a_text_file(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "take.wav")
    (takes / "take.txt").write_text("a bell, far away\n")
    assert ingest(store, takes)[1].rows[0].words == "a bell, far away"


def test_one_file_takes_its_sidecar_and_nothing_else(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav", wave(seed=1))
    write_wav(takes / "b.wav", wave(seed=2))
    (takes / "a.json").write_text('{"contributors": ["ben"]}')
    _, manifest, _ = ingest(store, takes / "a.wav")
    assert [(row.name, row.contributors) for row in manifest.rows] == [("a.wav", ("ben",))]


def test_a_zip_is_like_its_folder(store: FolderStore, takes: Path, tmp_path: Path) -> None:
    write_wav(takes / "in" / "a.wav", wave(seed=1))
    with zipfile.ZipFile(tmp_path / "takes.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.write(takes / "in" / "a.wav", "in/a.wav")
        out.writestr("in/a.json", '{"contributors": ["ben"]}')
    _, manifest, _ = ingest(store, tmp_path / "takes.zip")
    assert [(row.name, row.contributors) for row in manifest.rows] == [("in/a.wav", ("ben",))]


def test_a_zip_holds_sidecars_of_any_name(store: FolderStore, takes: Path, tmp_path: Path) -> None:
    """A sidecar is unpacked while its recording is: neither may take the other's place."""
    write_wav(takes / "Größe.wav", wave(0.3, seed=1))
    (takes / "Größe.json").write_text(json.dumps({"contributors": ["ben"], "session": "Küche"}))
    packed = shutil.make_archive(str(tmp_path / "takes"), "zip", takes)
    _, manifest, _ = ingest(store, packed)
    assert [(row.name, row.contributors, row.session) for row in manifest.rows] == [("Größe.wav", ("ben",), "Küche")]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("unpacked_bytes", "ratio", "refused"),
    [(65 * MIB, 190, False), (65 * MIB, 210, True), (64 * MIB, 210, False), (64 * MIB + 1, 210, True)],
)
def test_a_zip_bomb_is_an_entry_of_more_than_64_mib_and_200_times_its_packed_bytes(
    tmp_path: Path, unpacked_bytes: int, ratio: int, refused: bool
) -> None:
    noise = np.random.default_rng(0).bytes(MIB)
    packed_bytes = unpacked_bytes / ratio - unpacked_bytes / 1030  # zeros shrink to a 1030th, noise does not shrink
    with zipfile.ZipFile(tmp_path / "takes.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("take.wav", noise[: round(packed_bytes)] + bytes(unpacked_bytes - round(packed_bytes)))
        info = out.getinfo("take.wav")
    assert info.file_size == unpacked_bytes
    assert info.file_size / info.compress_size == pytest.approx(ratio, rel=0.01)
    source = ZipSource(tmp_path / "takes.zip", Settings(), tmp_path)
    assert source.files == ([] if refused else ["take.wav"])
    assert [(name, "zip bomb" in reason) for name, reason in source.refused] == ([("take.wav", True)] if refused else [])


def test_phone_and_video(store: FolderStore, takes: Path) -> None:
    write_with_av(takes / "phone.m4a", "aac", "ipod", wave(seed=1))
    write_with_av(takes / "film.mp4", "aac", "mp4", wave(seed=2), picture=True)
    _, manifest, _ = ingest(store, takes)
    assert [row.format for row in manifest.rows] == ["MOV AAC", "MOV AAC"]


def test_a_source_with_nothing_acceptable_fails_with_reasons(store: FolderStore, takes: Path) -> None:
    (takes / "a.wav").write_bytes(b"")
    with pytest.raises(SourceError, match=r"a\.wav: the file is empty"):
        ingest(store, takes)
    assert not list(store.list("manifests/"))


@pytest.mark.parametrize("source", ["", "/nowhere/at/all", "gdrive:x", "hf:nobody"])
def test_sources_that_are_none(store: FolderStore, source: str) -> None:
    with pytest.raises(SourceError):
        ingest(store, source)


# ---- description ----


def described(tmp_path: Path, frames: np.ndarray, subtype: str = "FLOAT"):  # type: ignore[no-untyped-def]
    path = write_wav(tmp_path / "x.wav", frames.astype(np.float32), subtype=subtype)
    return describe_file(path, Settings(), lambda share: None)[0].description


def test_levels(tmp_path: Path) -> None:
    t = np.arange(5 * RATE) / RATE
    sine = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * t)
    found = described(tmp_path, np.stack([sine + 0.01, sine], axis=1))
    assert found.peak_dbfs == pytest.approx(20 * np.log10(10 ** (-23 / 20) + 0.01), abs=0.01)
    assert found.loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert found.true_peak_dbtp is not None
    assert found.dc_offset == pytest.approx((0.01, 0.0), abs=1e-4)
    assert (found.clipped_share, found.dropouts, found.silent_channels) == (0.0, 0, ())


def test_clipping_counts_runs_only(tmp_path: Path) -> None:
    t = np.arange(RATE) / RATE
    over = np.clip(2 * np.sin(2 * np.pi * 100 * t), -1, 1)[:, None]
    assert described(tmp_path, over).clipped_share == pytest.approx(2 / 3, abs=0.01)
    touch = 0.5 * np.sin(2 * np.pi * 100 * t)[:, None]
    touch[1000] = 1.0
    assert described(tmp_path, touch).clipped_share == 0.0


def test_dropouts_are_not_pauses(tmp_path: Path) -> None:
    frames = wave(4.0, channels=2, seed=3) + 0.05 * np.sin(np.arange(4 * RATE) / 20)[:, None]
    frames[RATE : RATE + 480] = 0  # 10 ms torn out
    frames[2 * RATE : 2 * RATE + 96] = 0
    assert described(tmp_path, frames).dropouts == 2
    faded = wave(2.0, seed=3)
    fade = apply_fades(Sound(faded.T, RATE), 0.2, 0.2).data.T
    pause = np.concatenate([fade, np.zeros((RATE // 4, 2), np.float32), fade])
    assert described(tmp_path, pause).dropouts == 0


def test_channels(tmp_path: Path) -> None:
    mono = wave(1.0, channels=1, seed=4)[:, 0]
    assert described(tmp_path, np.stack([mono, mono], axis=1)).identical_channels
    assert described(tmp_path, np.stack([mono, -mono], axis=1)).polarity_inverted
    assert described(tmp_path, np.stack([mono, 0 * mono], axis=1)).silent_channels == (1,)
    plain = described(tmp_path, np.stack([mono, np.roll(mono, 5000)], axis=1))
    assert not plain.identical_channels
    assert not plain.polarity_inverted
    silent = described(tmp_path, np.zeros((RATE, 2)))
    assert silent.peak_dbfs is None
    assert silent.loudness_lufs is None


@pytest.mark.parametrize(
    "name", ["leading/-dash.wav", "two\nlines.wav", "  blank .wav", "grüße – 夜.wav", "x" * 250 + ".wav", "a'b\"$(c);.wav"]
)
def test_odd_names_are_only_names(store: FolderStore, takes: Path, name: str) -> None:
    write_wav(takes / name)
    _, manifest, report = ingest(store, takes)
    assert "\n" not in manifest.rows[0].name
    assert len(manifest.rows[0].name) <= 300
    assert "<script" not in report


def test_a_name_that_is_no_text(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    os.rename(bytes(takes / "a.wav"), bytes(takes) + b"/caf\xe9.wav")  # noqa: PTH104  (pathlib cannot say this name)
    assert ingest(store, takes)[1].rows[0].name == "caf?.wav"


def test_a_name_that_is_a_script(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "<script>alert(1)<" / "script>.wav")
    assert "<script>alert" not in ingest(store, takes)[2]


# ---- what is not whole, and what is no recording ----


def test_a_file_that_breaks_off_comes_in_and_says_so(store: FolderStore, takes: Path) -> None:
    cut_short(write_wav(takes / "cut.wav", wave(3.0), subtype="PCM_16"))
    result, manifest, report = ingest(store, takes)
    row = manifest.rows[0]
    assert row.ends_early
    assert row.duration_s == pytest.approx(1.8, abs=0.01)
    assert "ends early: 1.80 s of 3.00 s are there" in report
    assert result.metrics["ends_early"] == 1


def test_a_file_that_breaks_off_is_refused_where_that_is_wished(store: FolderStore, takes: Path) -> None:
    cut_short(write_wav(takes / "cut.wav", wave(3.0), subtype="PCM_16"))
    write_wav(takes / "good.wav", wave(seed=1))
    for _ in range(2):  # the second time it is known
        _, manifest, report = ingest(store, takes, refuse_cut=True)
        assert [row.name for row in manifest.rows] == ["good.wav"]
        assert "cut short: it ends early" in report
        assert len(list(store.list("blobs/"))) == 2  # of good.wav: nothing else was stored
    ingest(store, takes)
    assert [row.name for row in ingest(store, takes, refuse_cut=True)[1].rows] == ["good.wav"]


def test_channels_beyond_two_are_said(store: FolderStore, takes: Path) -> None:
    frames = wave(1.0, channels=4)
    frames[:, :2] = 0
    write_wav(takes / "four.wav", frames)
    _, manifest, report = ingest(store, takes)
    assert manifest.rows[0].mix == ((0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    assert "4 channels mixed to stereo (left 3, right 4)" in report


def test_a_source_that_is_no_recording_is_named(store: FolderStore, takes: Path) -> None:
    (takes / "takes.zip").write_bytes(b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>")
    with pytest.raises(SourceError, match="download quota is used up"):
        ingest(store, takes / "takes.zip")
    (takes / "takes.zip").rename(takes / "page.html")
    with pytest.raises(SourceError, match=r"page\.html: this is a page that says"):
        ingest(store, takes)
    (takes / "page.html").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4" + bytes(100))
    with pytest.raises(SourceError, match=r"this is a 7z archive.*[Uu]npack it"):
        ingest(store, takes / "page.html")


def test_a_member_and_a_licence_are_suggested(store: FolderStore, takes: Path) -> None:
    write_wav(takes / "a.wav")
    with pytest.raises(SourceError, match=r"'Ana' is no member in the agreement: did you mean 'ana'\?"):
        ingest(store, takes, contributors="Ana")
    with pytest.raises(SourceError, match=r"'Creative Commons 0' is not accepted by the agreement: did you mean 'CC0-1.0'\?"):
        ingest(store, takes, licence="Creative Commons 0")
    with pytest.raises(SourceError, match=r"it accepts LicenseRef-members-only, CC0-1.0"):
        ingest(store, takes, licence="CC BY-NC 4.0")


@pytest.mark.parametrize("top", [1.0, 1.5])
def test_sound_above_full_scale_is_not_clipped(tmp_path: Path, top: float) -> None:
    t = np.arange(RATE) / RATE
    loud = 2 * np.sin(2 * np.pi * 100 * t)[:, None]
    assert described(tmp_path, loud).clipped_share == 0.0
    assert described(tmp_path, loud).peak_dbfs == pytest.approx(6.02, abs=0.01)
    flat = np.clip(loud, -top, top).astype(np.float32)
    assert described(tmp_path, flat).clipped_share == pytest.approx(np.mean(np.abs(flat) >= top), abs=0.001)
    one_side = np.concatenate([flat, 0.1 * loud], axis=1)
    assert described(tmp_path, one_side).clipped_share == pytest.approx(np.mean(np.abs(flat) >= top), abs=0.001)
