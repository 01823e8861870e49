"""The step as a whole: manifest in, segments, report and blobs out."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.loudness import measure_integrated_lufs
from audiotune.audio.sound import Sound, read_sound
from audiotune.domain.manifest import Manifest, fetch_manifest, load_manifest
from audiotune.domain.recording import Description, Recording
from audiotune.domain.segment import Segment
from audiotune.errors import SoundError
from audiotune.governance import publish_agreement
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.member_acts import append_member_event
from audiotune.reporting.progress import ignore_progress
from audiotune.store import compute_digest
from components.executor import StepResult
from components.segment.settings import Settings
from components.segment.step import run_step
from tests.fakes.described_store import agreement
from tests.fakes.layout_store import LayoutStore

RATE = 48_000


def _jam(amplitude: float = 0.2, channels: int = 1, seconds: float = 6) -> Sound:
    rng = np.random.default_rng(1)
    data = rng.normal(0, 10 ** (-70 / 20), (channels, round(seconds * RATE)))
    t = np.arange(RATE) / RATE
    for start, hertz in ((1, 330), (4, 1200)):
        data[:, start * RATE : (start + 1) * RATE] += amplitude * np.sin(2 * np.pi * hertz * t) * np.exp(-3 * t)
    return Sound(data.astype(np.float32), RATE)


class SegmentRun:
    """A store, a folder and the step between them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, LayoutStore(folder / "store")
        self.rows: list[Recording] = []

    def add_recording(self, path: Path, rate: int = RATE, channels: int = 1, frames: int = 1) -> Recording:
        silence = Description(
            peak_dbfs=None, true_peak_dbtp=None, loudness_lufs=None, dc_offset=(0.0,), clipped_share=0, dropouts=0
        )
        row = Recording(
            id=compute_digest(path), blob=self.store.put_blob(path, path.suffix), name=path.name, source="test", contributors=("ana",),
            licence="CC0-1.0", format="WAV PCM_24", sample_rate_hz=rate, channels=channels, frames=frames, description=silence,
            fingerprint="none",
        )  # fmt: skip
        self.rows.append(row)
        return row

    def add_sound(self, sound: Sound, name: str = "jam.wav") -> Recording:
        return self.add_recording(sound.write(self.folder / name, "PCM_24"), sound.sample_rate_hz, sound.channels, sound.frames)

    def run(self, **settings: object) -> tuple[StepResult, list[Segment]]:
        recordings = Manifest("recordings", self.rows).write(self.folder / "recordings")
        out = {name: self.folder / name for name in ("segments", "report", "metrics")}
        result = run_step(Settings.model_validate(settings), self.store, ignore_progress, recordings=recordings, **out)
        return result, load_manifest(out["segments"], "segments", Segment).rows

    @property
    def report(self) -> str:
        return (self.folder / "report").read_text()


@pytest.fixture
def segment_run(tmp_path: Path) -> SegmentRun:
    return SegmentRun(tmp_path)


def test_segments_are_rendered_once_as_stereo_flac(segment_run: SegmentRun) -> None:
    recording = segment_run.add_sound(_jam())
    result, rows = segment_run.run()
    assert [row.recording for row in rows] == [recording.id] * 2
    for row in rows:
        path = segment_run.store.fetch(row.blob)
        info = sf.info(path)
        assert (info.format, info.samplerate, info.channels, info.frames) == ("FLAC", 44_100, 2, row.frames)
        assert abs(row.frames / 44_100 - row.duration_s) < 0.001
    key = result.parameters["segments_key"]
    assert [r.id for r in fetch_manifest(segment_run.store, key, "segments", Segment).rows] == [r.id for r in rows]


def test_loudness_comes_to_the_target_within_the_caps(segment_run: SegmentRun) -> None:
    segment_run.add_sound(_jam())
    _, rows = segment_run.run(loudness_lufs=-20)
    for row in rows:
        sound = read_sound(segment_run.store.fetch(row.blob))
        loudness = measure_integrated_lufs(sound)
        assert loudness is not None
        assert loudness == pytest.approx(-20, abs=0.7)  # fades and 16 bits move it a little
        assert row.loudness_lufs == pytest.approx(loudness, abs=0.7)
    _, capped = segment_run.run(loudness_lufs=-5, peak_dbfs=-3)
    assert all(row.peak_dbfs is not None and row.peak_dbfs <= -2.9 for row in capped)
    _, raised = segment_run.run(loudness_lufs=-5, peak_dbfs=0, max_gain_db=2)
    assert [row.gain_db for row in raised] == [2.0, 2.0]


def test_levels_can_be_left_alone(segment_run: SegmentRun) -> None:
    segment_run.add_sound(_jam())
    assert {row.gain_db for row in segment_run.run(keep_levels=True)[1]} == {0.0}


def test_running_twice_does_no_work_twice(segment_run: SegmentRun) -> None:
    segment_run.add_sound(_jam())
    first, rows = segment_run.run()
    blobs = {entry.key: entry.modified for entry in segment_run.store.list("blobs/")}
    again, same = segment_run.run()
    assert (first.metrics["reused"], again.metrics["reused"]) == (0, 1)
    assert same == rows
    assert first.parameters == again.parameters
    assert {entry.key: entry.modified for entry in segment_run.store.list("blobs/")} == blobs


def test_a_lost_blob_is_rendered_again(segment_run: SegmentRun) -> None:
    segment_run.add_sound(_jam())
    _, rows = segment_run.run()
    segment_run.store.delete(rows[0].blob)
    result, again = segment_run.run()
    assert again == rows
    assert result.metrics["reused"] == 0
    assert segment_run.store.exists(rows[0].blob)


def test_a_broken_recording_is_reported_and_the_rest_goes_on(segment_run: SegmentRun) -> None:
    segment_run.add_sound(_jam())
    broken = segment_run.folder / "broken <b>.wav"
    broken.write_bytes(b"RIFF this is no sound")
    segment_run.add_recording(broken)
    result, rows = segment_run.run()
    assert len(rows) == 2
    assert result.metrics["failed"] == 1
    assert "broken &lt;b&gt;.wav" in segment_run.report


def test_only_silence_is_an_error_with_a_cure(segment_run: SegmentRun) -> None:
    segment_run.add_sound(Sound(np.zeros((1, RATE), np.float32), RATE))
    with pytest.raises(SoundError, match="no segment was found.*onset_db"):
        segment_run.run()


def test_the_report_shows_each_recording_and_stays_small(segment_run: SegmentRun) -> None:
    for n in range(4):
        segment_run.add_sound(_jam(amplitude=0.1 + 0.1 * n), f"take {n}.wav")
    segment_run.run(pictures=3)
    assert segment_run.report.startswith("<!doctype html>")
    assert segment_run.report.count("data:image/png") == 3
    assert "1 more recordings were cut and are not drawn here" in segment_run.report
    assert len(segment_run.report) < 3_000_000


def test_a_recording_that_is_one_sound_from_end_to_end(segment_run: SegmentRun) -> None:
    t = np.arange(2 * RATE) / RATE
    segment_run.add_sound(Sound((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32), RATE))
    _, rows = segment_run.run()
    assert [(row.start_frame, row.end_frame) for row in rows] == [(0, 2 * RATE)]


def test_help_takes_less_than_a_second() -> None:
    def once() -> float:
        began = time.process_time()
        before = _children_s()
        subprocess.run([sys.executable, "-m", "components.segment", "--help"], check=True, capture_output=True)
        return _children_s() - before + time.process_time() - began

    assert min(once() for _ in range(2)) < 1.0


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from components.executor import build_parser; from components.segment import settings\n"
    code += "build_parser('components.segment', settings).format_help()\n"
    code += "print([m for m in ('numba', 'numpy', 'scipy', 'soundfile', 'matplotlib', 'boto3', 'torch') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


def _children_s() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---- channels and levels ----


def write_float(run: SegmentRun, data: np.ndarray, name: str = "jam.wav") -> Recording:
    """float32 [channels, frames] as a 32-bit float WAV."""
    path = Sound(data.astype(np.float32), RATE).write(run.folder / name, "FLOAT")
    return run.add_recording(path, RATE, len(data), data.shape[1])


@pytest.mark.parametrize("heard", [(2, 3), (3,), (1, 2), (0, 5)])
def test_no_segment_is_silent_whatever_channel_sounds(segment_run: SegmentRun, heard: tuple[int, ...]) -> None:
    one = _jam().data[0]
    write_float(segment_run, np.stack([one * (channel in heard) for channel in range(6)]))
    for row in segment_run.run()[1]:
        sound = read_sound(segment_run.store.fetch(row.blob))
        assert np.abs(sound.data).max(axis=1).min() > 0.1  # on both sides


def test_the_row_of_a_recording_says_how_its_channels_are_mixed(segment_run: SegmentRun) -> None:
    one = _jam().data[0]
    row = write_float(segment_run, np.stack([one, one, 0 * one]))
    segment_run.rows = [row.model_copy(update={"mix": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))})]
    sound = read_sound(segment_run.store.fetch(segment_run.run()[1][0].blob))
    assert np.abs(sound.data[0]).max() > 0.1
    assert np.abs(sound.data[1]).max() == 0


def test_kept_levels_are_not_flattened(segment_run: SegmentRun) -> None:
    """32-bit float beyond full scale: the recording is turned down as a whole, and its segments keep their relation."""
    hiss = _jam(0.0).data
    row = write_float(segment_run, hiss + 4 * (_jam(0.5).data - hiss) * np.where(np.arange(6 * RATE) < 3 * RATE, 1, 0.1))
    segments = segment_run.run(keep_levels=True)[1]
    gains = {segment.gain_db for segment in segments}
    assert max(gains) - min(gains) < 0.01  # by how much the resampler overshoots
    assert gains.pop() == pytest.approx(-20 * np.log10(np.abs(read_float(segment_run, row)).max()), abs=0.3)
    for segment in segments:
        sound = read_sound(segment_run.store.fetch(segment.blob))
        flat = np.abs(sound.data) >= 0.9995
        assert flat.sum() < 6  # the top of one wave in two channels
        part = read_float(segment_run, row)[:, segment.start_frame : segment.end_frame]
        assert sound.peak_dbfs == pytest.approx(20 * np.log10(np.abs(part).max()) + segment.gain_db, abs=0.2)


def read_float(run: SegmentRun, row: Recording) -> np.ndarray:
    return read_sound(run.store.fetch(row.blob)).data


@pytest.mark.parametrize("keep_levels", [False, True])
@pytest.mark.parametrize("amplitude", [0.05, 0.9, 3.0])
def test_what_a_row_says_is_true_of_its_file(segment_run: SegmentRun, keep_levels: bool, amplitude: float) -> None:
    write_float(segment_run, _jam(amplitude, channels=2).data)
    for row in segment_run.run(keep_levels=keep_levels)[1]:
        sound = read_sound(segment_run.store.fetch(row.blob))
        assert row.frames == sound.frames
        assert row.peak_dbfs == pytest.approx(sound.peak_dbfs, abs=0.02)
        assert row.loudness_lufs == pytest.approx(measure_integrated_lufs(sound), abs=0.1)


def test_segments_that_touch_a_part_left_out_are_not_in_the_manifest(segment_run: SegmentRun) -> None:
    recording = segment_run.add_sound(_jam())
    everything = segment_run.run()[1]
    assert len(everything) == 2
    publish_agreement(segment_run.store, agreement())
    record_standing_consents(segment_run.store, agreement(), recording.id, ["ana"])
    part = {"recording": recording.id, "parts": [{"start_s": 1.1, "end_s": 1.2}]}
    append_member_event(segment_run.store, "ana", "parts_excepted", part)
    assert segment_run.run()[1] == everything[1:]
    append_member_event(segment_run.store, "ana", "parts_excepted", {**part, "parts": [{"start_s": 0, "end_s": 99}]})
    with pytest.raises(SoundError, match=r"no segment was found \(ana leaves 0 to 99 s of it out"):
        segment_run.run()
    append_member_event(segment_run.store, "ana", "parts_excepted", {"recording": recording.id, "clear": True})
    again, rows = segment_run.run()
    assert rows == everything
    assert again.metrics["reused"] == 1
