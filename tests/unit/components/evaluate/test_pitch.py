"""Pitch: read from words, heard in sounds of known pitch, and compared."""

from __future__ import annotations

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from components.evaluate.measured_sounds import MeasuredSound
from components.evaluate.pitch import measure_asked_pitches, measure_pitch_hz, read_asked_pitch_hz

RATE_HZ = 44_100


def play(hz: float, partials: int = 6, seconds: float = 1.0, noise: float = 0.01) -> Sound:
    """A decaying tone with partials, the second louder than the first."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = sum((1.5 if k == 2 else 1 / k) * np.sin(2 * np.pi * k * hz * time) for k in range(1, partials + 1))
    data = tone * np.exp(-2 * time) + noise * np.random.default_rng(0).standard_normal(len(time))
    return Sound((0.2 * data)[None].astype(np.float32), RATE_HZ)


@pytest.mark.parametrize(
    ("text", "hz"),
    [
        ("a low drone on A2", 110.0),
        ("C#4 pluck", 277.18),
        ("Bb3, breathy", 233.08),
        ("E♭5 bell", 622.25),
        ("a tone at 440 Hz", 440.0),
        ("1.2kHz whistle", 1200.0),
    ],
)
def test_words_that_ask_for_a_pitch(text: str, hz: float) -> None:
    assert read_asked_pitch_hz(text) == pytest.approx(hz, rel=1e-4)


@pytest.mark.parametrize(
    "text",
    ["a low drone", "A minor pad", "take A", "EMS VCS3", "DX7 bass", "C4 and G4", "noise below 20 Hz", "B52 siren", "A2.wav"],
)
def test_words_that_ask_for_none(text: str) -> None:
    assert read_asked_pitch_hz(text) is None


@pytest.mark.parametrize("hz", [41.2, 55.0, 110.0, 261.6, 440.0, 987.8, 2093.0])
def test_a_known_pitch_is_heard_to_ten_cents(hz: float) -> None:
    heard = measure_pitch_hz(play(hz, partials=4))
    assert heard is not None
    assert abs(1200 * np.log2(heard / hz)) < 10


def test_noise_and_silence_have_no_pitch() -> None:
    white = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    assert measure_pitch_hz(Sound(0.1 * white[None], RATE_HZ)) is None
    assert measure_pitch_hz(Sound(np.zeros((1, RATE_HZ), np.float32), RATE_HZ)) is None


def test_sounds_are_compared_with_their_words() -> None:
    def heard(hz: float, text: str) -> MeasuredSound:
        return MeasuredSound(play(hz), text, None)

    words = ("A3 pluck", "C4 pluck", "a pluck")
    before = [heard(300.0, words[0]), heard(261.6, words[1]), heard(500.0, words[2])]
    after = [heard(222.0, words[0]), heard(261.6, words[1]), heard(500.0, words[2])]
    assert measure_asked_pitches(before, after) == {"pitch_share_before": 0.5, "pitch_share_after": 1.0, "pitches_asked": 2}
    assert measure_asked_pitches(before[2:], after[2:]) == {}
