"""The studio's settings, markup, library, history of sounds and taking one's data away. No gradio here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from audiotune.audio.sound import Sound
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Release
from audiotune.errors import GovernanceError, SettingsError
from audiotune.governance.member_acts import append_member_event
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio import history
from services.studio.history import ServiceSound, SoundRequest
from services.studio.library import LibraryCache
from services.studio.markup import embed_page, render_table
from services.studio.member_export import count_contribution, export_member_data
from services.studio.releases import find_aliases, list_releases, read_evaluation_report
from services.studio.settings import load_studio_settings
from services.studio.waveform import compute_peaks
from tests.fakes.seeded_store import Seeded, agreement, answer, seed, tone


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=2, segment_s=0.3)


def test_settings_come_from_the_environment_and_flags_win() -> None:
    settings = load_studio_settings(
        {"AUDIOTUNE_STUDIO_PORT": "8080", "AUDIOTUNE_STUDIO_HOST": "0.0.0.0"}, host="127.0.0.1", port=None
    )
    assert (settings.port, settings.host) == (8080, "127.0.0.1")


def test_a_setting_out_of_bounds_is_named() -> None:
    with pytest.raises(SettingsError, match="AUDIOTUNE_STUDIO_PORT"):
        load_studio_settings({"AUDIOTUNE_STUDIO_PORT": "eighty"})


def test_the_secret_is_no_flag_and_is_not_printed() -> None:
    from services.studio.__main__ import build_parser

    assert "kfp-token" not in build_parser().format_help()
    assert "hush" not in repr(load_studio_settings({"AUDIOTUNE_STUDIO_KFP_TOKEN": "hush"}))


def test_help_needs_no_gradio() -> None:
    program = (
        "import sys, services.studio.__main__ as m; m.build_parser(); sys.exit('gradio' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_markup_escapes_what_people_wrote() -> None:
    nasty = '<script>alert("1")</script>'
    assert "<script" not in tag("p", nasty, title=nasty)
    assert "<script" not in join_markup("a", nasty)
    assert "<script" not in render_table((nasty,), [(nasty,)])
    assert tag("p", Markup("<b>x</b>")) == "<p><b>x</b></p>"


def test_a_report_runs_in_a_frame_that_cannot_reach_the_studio() -> None:
    frame = embed_page('<!doctype html><p title="a">"', "Report")
    assert 'sandbox="allow-scripts"' in frame
    assert "allow-same-origin" not in frame
    assert frame.count("<") == 2


def test_peaks_follow_the_sound() -> None:
    ramp = Sound(np.linspace(0, 1, 1000, dtype=np.float32), 8000)
    peaks = compute_peaks(ramp, 10)
    assert peaks == sorted(peaks)
    assert (len(peaks), peaks[-1]) == (10, 100)
    assert compute_peaks(Sound(np.zeros((2, 0), np.float32), 8000)) == []
    assert compute_peaks(Sound(np.float32([[0.5]]), 8000)) == [50]


def test_the_library_shows_the_newest_segments_of_each_recording(group: Seeded) -> None:
    libraries = LibraryCache(group.store)
    assert len(libraries.current().segments) == 6
    again = group.segments[0].model_copy(update={"id": "f" * 64, "end_frame": group.segments[0].end_frame - 9})
    time.sleep(0.02)  # listings tell time in the file system's grain
    Manifest("segments", [again], {}).save(group.store)
    segments = libraries.current().segments
    assert "f" * 64 in segments
    assert group.segments[0].id not in segments
    assert group.segments[1].id not in segments
    assert len(segments) == 5


def test_the_history_marks_what_was_made_with_a_withdrawn_release_or_adapter(group: Seeded) -> None:
    audio = tone(220, 0.2).to_bytes("WAV")
    facts: dict[str, Any] = {
        "audio": audio,
        "format": "wav",
        "seed": 1,
        "release": "ours 2",
        "digest": "d",
        "wish": SoundRequest(),
    }
    made = [ServiceSound(**facts, makers=(("ours", "2"), ("grit", "1"))), ServiceSound(**facts)]
    new, old = history.add_to_history(group.store, "ana", made)
    withdrawn = {("grit", "1"): "ana has not agreed to generate"}
    words = "made with a release that was withdrawn: ana has not agreed to generate"
    assert new.describe_for_page("/x", withdrawn)["withdrawn"] == words
    assert old.describe_for_page("/x", withdrawn)["withdrawn"] == ""
    assert old.describe_for_page("/x", {("ours", "2"): "x"})["withdrawn"] == "made with a release that was withdrawn: x"


def test_the_history_keeps_the_services_bytes(group: Seeded) -> None:
    audio = tone(440, 0.5).to_bytes("FLAC")
    wish = SoundRequest(prompt="a <b>low</b> drone / ../../x", seconds=0.5, steps=8)
    made = [
        ServiceSound(audio=audio, format="flac", seed=seed_, release="patch-bay 1", digest="d" * 64, wish=wish)
        for seed_ in (1, 2)
    ]
    kept = history.add_to_history(group.store, "ana", made)
    assert group.store.get(kept[0].blob) == audio
    assert kept[0].seconds == pytest.approx(0.5)
    newest = history.read_history(group.store, "ana")
    assert [row.seed for row in newest] == [2, 1]
    assert newest[0].wish == wish
    assert newest[0].file_name == "a-b-low-b-drone-x-2.flac"
    assert history.read_history(group.store, "ben") == []


def test_a_sound_nobody_here_can_decode_is_kept_all_the_same(group: Seeded) -> None:
    made = ServiceSound(
        audio=b"\x1aE\xdf\xa3 something else", format="opus", seed=1, release="r", digest="d", wish=SoundRequest()
    )
    assert history.add_to_history(group.store, "ana", [made])[0].peaks == ()


def test_each_member_can_take_everything_away(group: Seeded, tmp_path: Path) -> None:
    answer(group.store, group.segments[0], "ana", "a horn", mood=("dark",))
    answer(group.store, group.segments[0], "ben", "a ship")
    library = LibraryCache(group.store).current()
    path = export_member_data(group.store, library, group.agreement, "ana", [group.release], tmp_path / "out", weights=True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("recordings/tuesday drone.wav") == group.store.get(group.recordings[0].blob)
        answers = json.loads(archive.read("annotations.json"))
        consents = json.loads(archive.read("consents.json"))
        assert archive.read("releases/patch-bay 1/model.safetensors") == b"not real weights"
    assert [a["words"] for a in answers] == ["a horn"]
    assert {c["contributor"] for c in consents} == {"ana"}
    assert sum(name.startswith("recordings/") for name in names) == 2
    assert all(".." not in name and not name.startswith("/") and "<" not in name for name in names)
    gift = count_contribution(group.store, library, "ana")
    assert (gift.recordings, gift.segments, gift.answers) == (2, 4, 1)


def test_a_release_is_taken_away_only_while_the_others_in_it_agree(group: Seeded, tmp_path: Path) -> None:
    """What a member gave themselves is theirs at any time."""
    append_member_event(group.store, "ben", "consent_narrowed", {"uses": ["release"]})
    library = LibraryCache(group.store).current()

    def pack(member: str, *releases: Release) -> dict[str, bytes]:
        folder = tmp_path / member
        path = export_member_data(group.store, library, group.agreement, member, [*releases], folder, weights=True)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    packed = pack("ana", group.release)
    assert not any(name.endswith("model.safetensors") for name in packed)
    assert packed["releases/left out.txt"].startswith(b"patch-bay version 1: ")
    assert b"ben has not agreed to release" in packed["releases/left out.txt"]
    assert "recordings/tuesday drone.wav" in packed
    own = group.release.lineage.model_copy(update={"recordings": dict.fromkeys(group.release.lineage.recordings, ("ben",))})
    assert "releases/patch-bay 1/model.safetensors" in pack("ben", group.release.model_copy(update={"lineage": own}))


# Fields of a release that hold text and no store key of its own. Whoever adds a field decides: pack its file, or name it here.
_NO_KEYS = {
    "name",
    "version",
    "licence",
    "notice",
    "run",
    "base",
    "base_digest",
    "dataset",
    "agreement",
    "weights_digest",
    "Evaluation.weights",
    "Evaluation.adapter",
    "choice",
}


def _fill_with_keys(model: type[BaseModel], keys: Iterator[str]) -> dict[str, object]:
    """Values for every text field that may hold a store key, and for the models inside."""
    filled: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if name in _NO_KEYS or f"{model.__name__}.{name}" in _NO_KEYS:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            filled[name] = _fill_with_keys(field.annotation, keys)
        elif field.annotation is str:
            filled[name] = next(keys)
        elif field.annotation == dict[str, str]:
            filled[name] = {f"tokenizer/{name}.json": next(keys)}
    return filled


def test_every_file_that_a_release_names_is_packed(group: Seeded, tmp_path: Path) -> None:
    given: list[bytes] = []

    def put_blobs() -> Iterator[str]:
        while True:
            given.append(f"content of blob {len(given)}".encode())
            yield group.store.put_blob(given[-1], ".bin")

    filled = _fill_with_keys(Release, put_blobs())
    parts = {name: getattr(group.release, name).model_copy(update=found) for name, found in filled.items()}
    release = group.release.model_copy(update=parts)
    assert release.weights.adapter
    assert release.evaluation.report
    library = LibraryCache(group.store).current()
    path = export_member_data(group.store, library, group.agreement, "ana", [release], tmp_path / "out", weights=True)
    with zipfile.ZipFile(path) as archive:
        packed = {archive.read(name) for name in archive.namelist()}
        assert archive.read("releases/patch-bay 1/adapter.safetensors") == group.store.get(release.weights.adapter)
    assert len(given) >= 5
    assert set(given) <= packed


def test_a_member_who_left_takes_their_data_and_a_stranger_nothing(group: Seeded, tmp_path: Path) -> None:
    library = LibraryCache(group.store).current()
    assert export_member_data(group.store, library, agreement(), "zoe", [], tmp_path / "out", weights=False).exists()
    with pytest.raises(GovernanceError):
        export_member_data(group.store, library, agreement(), "mallory", [], tmp_path / "out", weights=False)


def test_a_damaged_recording_leaves_no_half_archive(group: Seeded, tmp_path: Path) -> None:
    (group.store.root / group.recordings[0].blob).write_bytes(b"damaged")
    with pytest.raises(Exception, match="does not match its hash"):
        export_member_data(
            group.store, LibraryCache(group.store).current(), agreement(), "ana", [], tmp_path / "out", weights=False
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_releases_and_their_reports(group: Seeded) -> None:
    group.store.put("manifests/releases/odd/1.json", b'{"not": "a release"}')
    found = list_releases(group.store)
    assert [r.name for r in found] == ["patch-bay"]
    assert "How near" in (read_evaluation_report(group.store, found, found[0].digest) or "")
    assert read_evaluation_report(group.store, found, "governance/agreements/000001.json") is None
    listed = [{"name": "patch-bay", "version": 1, "aliases": ["champion"]}]
    assert find_aliases(listed, found[0]) == ["champion"]
