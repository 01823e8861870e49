"""Speech detection on synthesized sounds: syllables of a hiss and a vowel are speech; other sounds are not."""

from __future__ import annotations

import numpy as np
import pytest

from components.segment.features import RecordingFeatures, extract_features
from components.segment.speech import detect_speech

RATE = 16_000
_RANDOM = np.random.default_rng(5)


def _silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * RATE), np.float32)


def _hiss(duration_s: float) -> np.ndarray:
    """A consonant: noise with its low frequencies taken away, many zero crossings."""
    noise = _RANDOM.normal(0, 0.2, round(duration_s * RATE) + 1)
    return np.diff(noise).astype(np.float32)


def _vowel(duration_s: float, pitch_hz: float) -> np.ndarray:
    """Three harmonics that decay: few zero crossings."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in (1, 2, 3))
    return np.asarray(0.4 * tone * np.exp(-4 * time_s), np.float32)


def _syllables(duration_s: float, hiss_s: float, vowel_s: float, pause_s: float, pitch_hz: float = 140.0) -> np.ndarray:
    count = round(duration_s / (hiss_s + vowel_s + pause_s))
    return np.concatenate([p for _ in range(count) for p in (_hiss(hiss_s), _vowel(vowel_s, pitch_hz), _silence(pause_s))])


def _talk(duration_s: float) -> np.ndarray:
    """Four syllables a second."""
    return _syllables(duration_s, hiss_s=0.04, vowel_s=0.15, pause_s=0.06)


def _listen(sound: np.ndarray) -> RecordingFeatures:
    return extract_features([sound[:, None]], RATE, 30.0)


def _is_talk(sound: np.ndarray) -> bool:
    return detect_speech(_listen(sound), 0, len(sound))


def test_syllables_are_talk() -> None:
    assert _is_talk(_talk(4.0))
    assert _is_talk(0.05 * _talk(4.0))  # quiet talk as well


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("vowels without a hiss", _syllables(4.0, hiss_s=0.0, vowel_s=0.19, pause_s=0.06)),
        ("hiss without a vowel", _syllables(4.0, hiss_s=0.19, vowel_s=0.0, pause_s=0.06)),
        ("more hiss than a voice has", _syllables(4.0, hiss_s=0.085, vowel_s=0.105, pause_s=0.06)),
        ("hiss and a whistle in turn", _syllables(4.0, hiss_s=0.04, vowel_s=0.15, pause_s=0.06, pitch_hz=1700.0)),
        ("a click of hiss now and then", _syllables(4.0, hiss_s=0.005, vowel_s=0.185, pause_s=0.06)),
        ("slower than syllables", _syllables(8.0, hiss_s=0.16, vowel_s=0.6, pause_s=0.24)),
        ("faster than syllables", _syllables(4.0, hiss_s=0.015, vowel_s=0.055, pause_s=0.02)),
        ("a steady tone", np.asarray(0.3 * np.sin(2 * np.pi * 220 * np.arange(4 * RATE) / RATE), np.float32)),
        ("silence", _silence(4.0)),
    ],
)
def test_what_lacks_a_mark_of_talk_is_none(name: str, sound: np.ndarray) -> None:
    assert not _is_talk(sound), name


def test_less_than_a_second_is_never_called_talk() -> None:
    talk = _talk(4.0)
    heard = _listen(talk)
    assert not detect_speech(heard, 0, round(0.98 * RATE))
    assert detect_speech(heard, 0, round(1.5 * RATE))


def test_only_the_part_asked_about_is_judged() -> None:
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE), np.float32)
    heard = _listen(np.concatenate([tone, _talk(3.0)]))
    assert not detect_speech(heard, 0, 3 * RATE)
    assert detect_speech(heard, 3 * RATE, 6 * RATE)
