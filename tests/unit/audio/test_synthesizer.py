"""The synthesizer: its words are true of its sounds, its boundaries exact, its seeds binding."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from audiotune.audio.sound import Frames
from audiotune.audio.synthesizer import ENVELOPES, REGISTERS, TIMBRES, Patch, make_random_patch, play_patch
from tests.fakes.jam import play_jam

RATE = 22_050


def centroid_hz(audio: Frames) -> float:
    power = np.abs(np.fft.rfft(audio[0])) ** 2
    return float((power * np.fft.rfftfreq(audio.shape[1], 1 / RATE)).sum() / power.sum())


def temporal_centre(audio: Frames) -> float:
    power = audio[0].astype(np.float64) ** 2
    return float((power * np.arange(len(power))).sum() / power.sum() / len(power))


@pytest.mark.parametrize("timbre", TIMBRES)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_patch_plays_at_rest_at_both_ends(timbre: str, envelope: str) -> None:
    for seed in range(1):
        patch = make_random_patch(np.random.default_rng(seed), timbre=timbre, envelope=envelope)
        sound = play_patch(patch, 0.9, RATE, seed)
        assert sound.frames == round(0.9 * RATE)
        assert np.abs(sound.data).max() == pytest.approx(0.7, abs=1e-4)
        assert abs(sound.data[0, 0]) < 0.05
        assert abs(sound.data[0, -1]) < 0.05
        assert {patch.register, timbre, envelope} <= set(patch.make_caption().split())


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    patch = Patch("mid", "drone", "noise", 300.0)
    assert np.array_equal(play_patch(patch, 0.5, RATE, 4).data, play_patch(patch, 0.5, RATE, 4).data)
    assert not np.array_equal(play_patch(patch, 0.5, RATE, 4).data, play_patch(patch, 0.5, RATE, 5).data)
    assert make_random_patch(np.random.default_rng(3)) == make_random_patch(np.random.default_rng(3))


def has_steady_pitch(patch: Patch) -> bool:
    """Ring and noise have no pitch of their own."""
    harmonic = patch.timbre != "fm" or float(patch.ratio).is_integer()
    return patch.timbre not in ("ring", "noise") and harmonic and patch.envelope != "sequence" and not patch.glide


def test_tonal_patches_have_their_pitch() -> None:
    rng, near = np.random.default_rng(1), 0
    patches = [p for p in (make_random_patch(rng) for _ in range(80)) if has_steady_pitch(p) and not p.vibrato][:25]
    for seed, patch in enumerate(patches):
        spectrum = np.abs(np.fft.rfft(play_patch(patch, 1.5, RATE, seed).data[0], 1 << 18))
        partial = np.argmax(spectrum) * RATE / (1 << 18) / patch.frequency_hz
        near += abs(partial / round(partial) - 1) < 0.02
    assert near >= 23


def test_register_and_brightness_words_can_be_heard() -> None:
    heard = {r: centroid_hz(play_patch(Patch(r, "drone", "saw", sum(REGISTERS[r]) / 2), 1.0, RATE).data) for r in REGISTERS}
    assert heard["low"] < heard["mid"] < heard["high"]
    dull, sharp = Patch("mid", "drone", "saw", 300.0, brightness=0.1), Patch("mid", "drone", "saw", 300.0, brightness=0.9)
    assert "dark" in dull.list_words()
    assert "bright" in sharp.list_words()
    assert centroid_hz(play_patch(dull, 1.0, RATE).data) < 0.6 * centroid_hz(play_patch(sharp, 1.0, RATE).data)


def test_envelope_words_can_be_heard() -> None:
    centres = [temporal_centre(play_patch(Patch("mid", e, "saw", 300.0), 1.5, RATE).data) for e in ("pluck", "drone", "swell")]
    assert centres[0] < 0.2 < centres[1] < 0.6 < centres[2]


def test_added_modules_change_the_sound_and_the_words() -> None:
    plain = Patch("mid", "drone", "sine", 300.0)
    for change, word in (
        ({"drive": 0.9}, "harsh"),
        ({"breath": 0.3}, "airy"),
        ({"tremolo": 0.8}, "trembling"),
        ({"glide": 5.0}, "rising"),
    ):
        changed = replace(plain, **change)  # type: ignore[arg-type]
        assert word in changed.list_words()
        assert word not in plain.list_words()
        assert np.abs(play_patch(changed, 0.5, RATE).data - play_patch(plain, 0.5, RATE).data).max() > 0.05


def test_a_jam_tells_the_exact_truth() -> None:
    take, events = play_jam(0.5, 7, sample_rate_hz=RATE, hum_dbfs=-90, hiss_dbfs=-90, dc=0.0)
    assert take.duration_s == pytest.approx(30)
    assert len(events) >= 6
    silent = np.ones(take.frames, dtype=bool)
    for event in events:
        start, end = round(event.start_s * RATE), round(event.end_s * RATE)
        assert start / RATE == event.start_s
        assert np.abs(take.data[0, start:end]).max() > 0.1
        assert event.caption == event.patch.make_caption()
        silent[start:end] = False
    assert np.abs(take.data[0, silent]).max() < 1e-3
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(events))


def test_a_jams_room_and_overlap() -> None:
    take, events = play_jam(0.5, 7, sample_rate_hz=RATE, dc=0.01, overlap=1.0)
    assert take.data.mean() == pytest.approx(0.01, abs=0.003)
    assert any(b.start_s < a.end_s for a, b in itertools.pairwise(events))
    assert len({event.player for event in events}) > 1
    again, _ = play_jam(0.5, 7, sample_rate_hz=RATE, dc=0.01, overlap=1.0)
    assert np.array_equal(take.data, again.data)
