"""Fingerprints: copies are found whatever was done to them, strangers are not, and overlaps are placed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.fingerprint import HOP_S, Fingerprinter, FingerprintIndex, FingerprintWords, Match, fingerprint_sound
from audiotune.audio.sound import Sound, read_sound

RATE = 44_100


def melody(seed: int, seconds: float = 6.0, rate: int = RATE) -> Sound:
    """Plucked notes with overtones, a new one every 0.1 to 0.5 s."""
    rng = np.random.default_rng(seed)
    data = np.zeros(round(seconds * rate), np.float32)
    at = 0
    while at < len(data):
        length = min(round(rng.uniform(0.1, 0.5) * rate), len(data) - at)
        t = np.arange(length) / rate
        hz = 110 * 2 ** (rng.integers(0, 36) / 12)
        strengths = rng.uniform(0.1, 1.0, 8)
        wave = sum(s * np.sin(2 * np.pi * hz * (k + 1) * t) for k, s in enumerate(strengths))
        data[at : at + length] += (0.1 * wave * np.exp(-t * rng.uniform(2, 12))).astype(np.float32)
        at += length
    return Sound(data, rate)


def match_fingerprints(a: FingerprintWords, b: FingerprintWords) -> Match | None:
    """The longest part of `a` that is also in `b`, or None."""
    index: FingerprintIndex[int] = FingerprintIndex()
    index.add(0, b)
    return next((match for _, match in index.find(a)), None)


def through(sound: Sound, format: str) -> Sound:
    return read_sound(io.BytesIO(sound.to_bytes(format)))


COPIES = {
    "exact": lambda s: s,
    "quieter": lambda s: s.apply_gain(-21.7),
    "mp3": lambda s: through(s, "MP3"),
    "ogg": lambda s: through(s, "OGG"),
    "48 kHz": lambda s: s.resample(48_000),
    "upside down": lambda s: Sound(-s.data, s.sample_rate_hz),
    "stereo": lambda s: s.to_channels(2),
    "shifted": lambda s: Sound(np.concatenate([np.zeros((1, 12_345), np.float32), s.data], axis=1), s.sample_rate_hz),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seconds", [0.25, 6.0])
def test_copies_match_as_wholes(kind: str, seconds: float) -> None:
    sound = melody(1, seconds)
    match = match_fingerprints(fingerprint_sound(sound), fingerprint_sound(COPIES[kind](sound)))
    assert match is not None
    assert match.is_whole
    assert match.bit_error_rate < 0.2


def test_strangers_do_not_match() -> None:
    prints = [fingerprint_sound(melody(seed)) for seed in range(12)]
    assert [(i, j) for i in range(12) for j in range(i) if match_fingerprints(prints[i], prints[j])] == []


def test_an_overlap_is_placed() -> None:
    long = melody(2, 12.0)
    middle = Sound(np.concatenate([melody(3, 2.0).data, long.data[:, 5 * RATE : 9 * RATE]], axis=1), RATE)
    match = match_fingerprints(fingerprint_sound(middle), fingerprint_sound(long))
    assert match is not None
    assert not match.is_whole
    assert match.start_s == pytest.approx(2.0, abs=0.3)
    assert match.other_start_s == pytest.approx(5.0, abs=0.3)
    assert match.start_s - match.other_start_s == pytest.approx(-3.0, abs=2 * HOP_S)
    assert match.duration_s == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize("at_s", [0.0, 0.37, 1.0, 4.321])
def test_a_whole_sound_inside_a_take_is_placed_to_a_twentieth_of_a_second(at_s: float) -> None:
    """The words of a sound reach into the silence before it: they must not move one start and leave the other."""
    sound = melody(7, 2.0)
    take = np.random.default_rng(0).normal(0, 3e-4, (1, 8 * RATE)).astype(np.float32)
    first = round(at_s * RATE)
    take[:, first : first + sound.frames] += sound.data
    for a, b, sign in (
        (fingerprint_sound(Sound(take, RATE)), fingerprint_sound(sound), 1),
        (fingerprint_sound(sound), fingerprint_sound(Sound(take, RATE)), -1),
    ):
        match = match_fingerprints(a, b)
        assert match is not None
        assert sign * (match.start_s - match.other_start_s) == pytest.approx(at_s, abs=0.05)
        assert min(match.start_s, match.other_start_s) >= 0
        assert match.duration_s <= 2.0 + 2 * HOP_S


def test_opposite_channels_do_not_cancel() -> None:
    mono = melody(4)
    wide = Sound(np.concatenate([mono.data, -mono.data]), RATE)
    assert match_fingerprints(fingerprint_sound(wide), fingerprint_sound(mono)) is not None


def test_silence_matches_nothing() -> None:
    silence = fingerprint_sound(Sound(np.zeros((1, 5 * RATE), np.float32), RATE))
    assert not silence.any()
    assert match_fingerprints(silence, silence) is None


def test_blocks_of_any_length_give_the_same_words() -> None:
    sound = melody(5)
    maker = Fingerprinter(RATE)
    for start in range(0, sound.frames, 999):
        maker.add(sound.data[:, start : start + 999].T)
    words = maker.finish()
    assert words.dtype == np.uint32
    assert len(words) == len(fingerprint_sound(sound))
    assert np.mean(words == fingerprint_sound(sound)) > 0.98


def test_ten_kilobytes_a_minute() -> None:
    assert fingerprint_sound(melody(6, 20.0)).nbytes < 20 / 60 * 11_500


def test_the_index_finds_copies_and_parts() -> None:
    index: FingerprintIndex[str] = FingerprintIndex()
    for seed in range(10):
        index.add(f"melody {seed}", fingerprint_sound(melody(seed)))
    index.add("click", fingerprint_sound(melody(99, 0.1)))
    assert [name for name, _ in index.find(fingerprint_sound(through(melody(7), "MP3")))] == ["melody 7"]
    part = melody(8).cut(2 * RATE, 4 * RATE)
    assert [name for name, _ in index.find(fingerprint_sound(part))] == ["melody 8"]
    assert [name for name, _ in index.find(fingerprint_sound(melody(99, 0.1).apply_gain(-6)))] == ["click"]
    assert index.find(fingerprint_sound(melody(1234))) == []


def test_an_empty_index_finds_nothing() -> None:
    assert FingerprintIndex[str]().find(fingerprint_sound(melody(1))) == []


def test_long_sounds_go_through_the_lookup() -> None:
    """Two words arrays too long to be compared in full."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 2**32, 5000, dtype=np.uint32) for _ in range(2))
    assert match_fingerprints(a, b) is None
    b[1000:1500] = a[3000:3500]
    match = match_fingerprints(a, b)
    assert match is not None
    assert match.duration_s == pytest.approx(500 * HOP_S, abs=0.2)


def test_files_do_not_matter() -> None:
    out = io.BytesIO()
    sf.write(out, melody(1).data.T, RATE, format="FLAC", subtype="PCM_16")
    out.seek(0)
    match = match_fingerprints(fingerprint_sound(read_sound(out)), fingerprint_sound(melody(1)))
    assert match is not None
    assert match.bit_error_rate < 0.02
