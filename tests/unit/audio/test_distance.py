"""Distances: similar sounds are near, different ones are far, and known formulas give their values."""

from __future__ import annotations

import numpy as np
import pytest

from audiotune.audio import distance
from audiotune.audio.sound import Sound

RATE = 22_050


def tone(frequency_hz: float, seconds: float = 1.0, *, decay: float = 0.0, gain: float = 0.5, start_s: float = 0.0) -> Sound:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.where(time >= start_s, np.sin(2 * np.pi * frequency_hz * time) * np.exp(-decay * np.maximum(0, time - start_s)), 0)
    return Sound((gain * wave)[None].astype(np.float32), RATE)


def noise(seed: int = 0, seconds: float = 1.0) -> Sound:
    return Sound((0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * RATE)))).astype(np.float32), RATE)


def mels(*sounds: Sound) -> list[distance.Mel]:
    return [distance.compute_log_mel(sound) for sound in sounds]


def mel_distance(a: Sound, b: Sound) -> float:
    return distance.measure_mel_distance(*mels(a, b))


def test_mel_bands_rise_with_pitch_and_forget_level() -> None:
    low, high = (distance.compute_log_mel(tone(hz)).mean(axis=1).argmax() for hz in (110, 3000))
    assert low < 10 < high
    quiet, loud = tone(440, gain=0.01), tone(440, gain=0.9)
    assert mel_distance(quiet, loud) < 0.5
    assert distance.compute_log_mel(tone(440)).max() == 0.0
    assert (distance.compute_log_mel(Sound(np.zeros((2, 100), np.float32), 44_100)) == -80).all()


def test_log_mel_distance_orders_sounds() -> None:
    assert mel_distance(tone(440), tone(440)) == 0.0
    near, far = mel_distance(tone(440), tone(466)), mel_distance(tone(440), noise())
    assert 0 < near < far


@pytest.mark.parametrize("kernel", ["rbf", "polynomial"])
def test_kad_is_unbiased_around_zero_and_grows_with_distance(kernel: distance.Kernel) -> None:
    rng = np.random.default_rng(5)
    reference = rng.normal(size=(60, 8))
    same = [distance.compute_kad(reference, rng.normal(size=(60, 8)), kernel) for _ in range(40)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same)) + 0.5
    assert min(same) < 0 < max(same), "an unbiased estimate falls on both sides of zero"
    steps = [distance.compute_kad(reference, rng.normal(size=(60, 8)) + shift, kernel) for shift in (0.5, 1.0, 2.0)]
    assert max(same) < steps[0] < steps[1] < steps[2]


def test_kad_is_the_formula() -> None:
    """Two and two points on a line, by hand: within the reference all distances are 1, so the width is 1."""
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    k = {0: 1.0, 1: np.exp(-0.5), 2: np.exp(-2.0)}
    by_hand = 100 * (k[1] + k[2] - 2 * (k[0] + k[2] + k[1] + k[1]) / 4)
    assert distance.compute_kad(x, y) == pytest.approx(by_hand)


def test_kad_names_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="at least two"):
        distance.compute_kad(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="3 and of 4"):
        distance.compute_kad(np.zeros((5, 3)), np.zeros((5, 4)))
    assert distance.compute_kad(np.zeros((3, 2)), np.zeros((3, 2))) == pytest.approx(0.0), "equal rows have no width"


def test_balanced_gives_each_kind_the_same_say() -> None:
    rng = np.random.default_rng(1)
    loud, quiet = 1000 * rng.normal(size=(50, 4)), 0.01 * rng.normal(size=(50, 9))
    joined, other = distance.balance_statistics([loud, quiet], [loud[:5], quiet[:5]])
    assert joined.shape == (50, 13)
    assert joined[:, :4].var(axis=0).sum() == pytest.approx(joined[:, 4:].var(axis=0).sum())
    np.testing.assert_array_equal(other, joined[:5])


def test_statistics_tell_a_drone_from_a_pluck() -> None:
    drone, pluck = (distance.compute_mel_statistics(distance.compute_log_mel(tone(220, decay=decay))) for decay in (0, 12))
    assert drone.shape == (6 * distance.BANDS,)
    assert np.linalg.norm(drone - pluck) > 0.5
    assert distance.compute_latent_statistics(np.ones((8, 5), np.float32)).tolist() == [1.0] * 8 + [0.0] * 8


def test_a_copy_is_found_when_it_begins_later_is_quieter_or_a_little_noisy() -> None:
    original = tone(330, decay=4)
    noisy = Sound(0.3 * original.data + 0.001 * noise(3).data, RATE)
    table = distance.compute_likeness(mels(tone(330, decay=4, start_s=0.2), noisy, tone(660, decay=1)), mels(original, noise(1)))
    assert table.shape == (3, 2)
    assert table[0, 0] > 0.9, "0.2 s later"
    assert table[1, 0] > 0.8, "quieter, with noise below it"
    assert table[2, 0] < 0.6, "another note"
    assert table[:, 1].max() < 0.6
    assert distance.compute_likeness(mels(original), mels(original))[0, 0] == pytest.approx(1.0)


def test_likeness_takes_sounds_of_any_length_and_silence() -> None:
    silence = Sound(np.zeros((1, 10), np.float32), RATE)
    table = distance.compute_likeness(mels(tone(440, 0.05), silence), mels(tone(440, 3.0), silence))
    assert np.isfinite(table).all()
    assert (np.abs(table) <= 1).all()
    assert distance.compute_likeness([], mels(silence)).shape == (0, 1)


def test_flatness_of_noise_is_far_above_that_of_a_tone() -> None:
    assert distance.measure_flatness(noise()) == pytest.approx(0.56, abs=0.03)
    assert distance.measure_flatness(tone(440)) < 0.01
    assert distance.measure_flatness(Sound(np.zeros((1, 100), np.float32), RATE)) == 0.0


def test_centroid_and_sustain() -> None:
    assert distance.measure_centroid_hz(tone(1000)) == pytest.approx(1000, rel=0.02)
    assert distance.measure_centroid_hz(Sound(np.zeros((1, 100), np.float32), RATE)) == 0.0
    assert distance.measure_sustain_db(tone(200)) == pytest.approx(0.0, abs=0.5)
    assert distance.measure_sustain_db(tone(200, decay=8)) < -20
