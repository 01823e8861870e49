"""Sound: shapes, units, and that nothing half-written can look whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio import sound
from audiotune.audio.sound import Sound
from audiotune.errors import SoundError


def tone(frequency_hz: float = 440.0, duration_s: float = 0.5, rate: int = 48_000, channels: int = 1) -> Sound:
    t = np.arange(round(duration_s * rate)) / rate
    return Sound(np.tile(0.5 * np.sin(2 * np.pi * frequency_hz * t), (channels, 1)).astype(np.float32), rate)


def test_one_dimension_is_one_channel() -> None:
    assert Sound(np.zeros(10, np.float32), 8000).data.shape == (1, 10)


@pytest.mark.parametrize(
    ("data", "rate", "word"),
    [
        (np.zeros((1, 2, 3)), 8000, "shape"),
        (np.zeros((0, 5)), 8000, "shape"),
        (np.zeros((1, 5)), 0, "sample rate"),
        (np.array([[0.0, np.nan]]), 8000, "NaN"),
        (np.array([[np.inf, 0.0]]), 8000, "NaN"),
    ],
)
def test_what_is_no_sound_is_refused(data: np.ndarray, rate: int, word: str) -> None:
    with pytest.raises(SoundError, match=word):
        Sound(data, rate)


def test_peak_and_gain_are_in_decibels() -> None:
    assert tone().peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert tone().apply_gain(-6.0).peak_dbfs == pytest.approx(-12.02, abs=0.01)
    assert Sound(np.zeros((1, 4), np.float32), 8000).peak_dbfs == -np.inf


def test_resampling_keeps_pitch_and_duration() -> None:
    moved = tone(1000, 1.0, 48_000, 2).resample(44_100)
    assert moved.sample_rate_hz == 44_100
    assert moved.channels == 2
    assert moved.duration_s == pytest.approx(1.0, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(moved.data[0]))
    assert np.argmax(spectrum) * 44_100 / moved.frames == pytest.approx(1000, abs=2)


def test_channels_fit() -> None:
    stereo = Sound(np.stack([np.ones(8), -np.ones(8)]).astype(np.float32), 8000)
    assert np.all(np.abs(stereo.to_mono().data) == 1)  # not cancelled
    assert tone().to_channels(2).data.shape[0] == 2
    four = Sound(np.stack([0 * tone().data[0], 0 * tone().data[0], tone().data[0], 2 * tone().data[0]]), 48_000)
    assert np.array_equal(four.to_channels(2).data, four.data[2:])


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"), [(".wav", "FLOAT", 0), (".wav", "PCM_24", 2e-7), (".flac", "PCM_16", 4e-5)]
)
def test_write_and_read_back(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    path = tone(channels=2).write(tmp_path / "deep" / f"a{suffix}", subtype)
    back = sound.read_sound(path)
    assert back.sample_rate_hz == 48_000
    assert np.abs(back.data - tone(channels=2).data).max() <= tolerance
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="cannot write"):
        tone().write(tmp_path / "a.nosuch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 100])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(SoundError, match=r"broken\.wav"):
        sound.read_sound(path)


def test_bytes_are_a_file() -> None:
    data, rate = sf.read(io.BytesIO(tone().to_bytes("FLAC")), dtype="float32")
    assert rate == 48_000
    assert np.abs(data - tone().data[0]).max() < 4e-5
