"""How sure the gate is: luck, sounds that are nothing like the recordings, and captions that mean nothing to the model."""

from __future__ import annotations

import numpy as np
import pytest

from audiotune.audio import distance
from audiotune.audio.sound import Sound
from components.evaluate.confidence import (
    bound_recorded_kad,
    compare_words,
    measure_effect,
    measure_kad_gain,
    measure_variety_share,
)
from components.evaluate.measured_sounds import MeasuredSound

RATE_HZ = 22_050


def draw_embeddings(seed: int, count: int = 24, away: float = 0.0) -> distance.Matrix:
    return np.random.default_rng(seed).standard_normal((count, 16)) + away


class TestKadGain:
    REFERENCE = draw_embeddings(0)

    def measure(self, before: distance.Matrix, after: distance.Matrix) -> tuple[float, float]:
        values = measure_kad_gain(self.REFERENCE, before, after, "rbf")
        return values["kad_gain"], values["kad_gain_of_luck"]

    def test_a_model_that_learned_nothing_is_not_nearer(self) -> None:
        before = draw_embeddings(1, away=2)
        assert self.measure(before, before) == pytest.approx((0, 0), abs=1e-9)

    def test_a_difference_of_seeds_is_luck(self) -> None:
        """99 of 100 are found, a few more or less."""
        pairs = [self.measure(draw_embeddings(100 + i, away=1), draw_embeddings(300 + i, away=1)) for i in range(100)]
        assert sum(gain > luck for gain, luck in pairs) <= 4

    @pytest.mark.parametrize("count", [16, 24])
    def test_a_true_gain_is_seen(self, count: int) -> None:
        gain, luck = self.measure(draw_embeddings(1, count, away=1), draw_embeddings(2, count, away=0.2))
        assert gain > 1.5 * luck > 0

    def test_the_gain_is_the_difference_of_kad(self) -> None:
        before, after = draw_embeddings(1, away=1), draw_embeddings(2, away=0.2)
        measured = distance.compute_kad(self.REFERENCE, before) - distance.compute_kad(self.REFERENCE, after)
        assert self.measure(before, after)[0] == pytest.approx(measured)


class TestRecordings:
    NAMES = [f"recording {i // 3}" for i in range(24)]

    def test_parts_of_one_kind_of_recordings_are_near(self) -> None:
        bound = bound_recorded_kad(draw_embeddings(0), self.NAMES, 5.0, 3, "rbf")
        assert bound is not None
        assert 0 < bound < 10

    def test_recordings_that_differ_are_far_apart(self) -> None:
        """Whole recordings are drawn: segments of one are near each other, and would make any two halves look alike."""
        places = np.repeat(draw_embeddings(1, 8) * 3, 3, axis=0)
        bound = bound_recorded_kad(places + 0.1 * draw_embeddings(0), self.NAMES, 15.0, 3, "rbf")
        alike = bound_recorded_kad(places + 0.1 * draw_embeddings(0), [str(i % 8) for i in range(24)], 15.0, 3, "rbf")
        assert bound is not None
        assert alike is not None
        assert bound > alike + 3

    def test_noise_is_farther_than_any_part(self) -> None:
        reference, noise = draw_embeddings(0), 30 + 0.01 * draw_embeddings(3)
        bound = bound_recorded_kad(draw_embeddings(1), self.NAMES, distance.compute_median_distance(reference), 3, "rbf")
        assert bound is not None
        assert distance.compute_kad(reference, noise) > 4 * bound

    def test_one_recording_has_no_parts(self) -> None:
        assert bound_recorded_kad(draw_embeddings(0), ["one"] * 24, 5.0, 1, "rbf") is None


class TestEffect:
    WIDTH = 5.0

    def test_the_same_sounds_have_none(self) -> None:
        values = measure_effect(draw_embeddings(0), draw_embeddings(0), self.WIDTH, "rbf")
        assert values == {"effect_kad": 0.0, "effect_kad_of_reseeding": 0.0}

    def test_other_seeds_of_one_model_have_none(self) -> None:
        """At 99 % at most a few of a hundred pairs may seem to."""
        words = 3 * draw_embeddings(0)
        pairs = [(words + draw_embeddings(100 + i), words + draw_embeddings(300 + i)) for i in range(100)]
        measured = [measure_effect(a, b, 3 * self.WIDTH, "rbf") for a, b in pairs]
        assert sum(one["effect_kad"] > one["effect_kad_of_reseeding"] for one in measured) <= 4

    @pytest.mark.parametrize("kernel", ["rbf", "polynomial"])
    def test_a_shift_that_is_small_beside_what_words_do_is_heard(self, kernel: distance.Kernel) -> None:
        words = 3 * draw_embeddings(0)
        a, b = words + 0.3 * draw_embeddings(1), words + 0.3 * draw_embeddings(2) + 0.5
        values = measure_effect(a, b, 3 * self.WIDTH, kernel)
        assert values["effect_kad"] > 2 * values["effect_kad_of_reseeding"] > 0

    def test_the_effect_is_the_kad_of_both_sets_but_for_pairs(self) -> None:
        a, b = draw_embeddings(1, 200), draw_embeddings(2, 200, away=1)
        width = distance.compute_median_distance(a)
        assert measure_effect(a, b, width, "rbf")["effect_kad"] == pytest.approx(distance.compute_kad(a, b), rel=0.02)


class TestVariety:
    def test_sounds_as_different_as_the_recordings(self) -> None:
        assert measure_variety_share(draw_embeddings(0), draw_embeddings(1)) == pytest.approx(1, abs=0.1)

    def test_one_sound_for_all_words(self) -> None:
        assert measure_variety_share(0.1 * draw_embeddings(0), draw_embeddings(1)) == pytest.approx(0.1, abs=0.01)

    def test_recordings_that_are_all_the_same_ask_for_nothing(self) -> None:
        assert measure_variety_share(draw_embeddings(0), np.zeros((5, 16))) > 1


def play_tone(hz: float, seed: int, seconds: float = 0.5) -> Sound:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    return Sound((0.3 * np.sin(2 * np.pi * hz * time) + noise)[None].astype(np.float32), RATE_HZ)


def measure_tones(kinds: list[int], first_seed: int, seconds: float = 0.5) -> list[MeasuredSound]:
    return [
        MeasuredSound(play_tone(200.0 * 3**kind, first_seed + i, seconds), f"tone {kind}", None) for i, kind in enumerate(kinds)
    ]


class TestWords:
    KINDS = [0, 1, 2] * 5

    def test_a_model_that_follows_words_is_nearer_to_its_own_recordings(self) -> None:
        targets, made = measure_tones(self.KINDS, 0), measure_tones(self.KINDS, 100)
        values = compare_words(made, made, targets)
        assert values["word_gain_db_lowest"] > 3
        assert values["word_gain_db_before"] == values["word_gain_db_after"]

    def test_shuffled_captions_are_found(self) -> None:
        targets, good = measure_tones(self.KINDS, 0), measure_tones(self.KINDS, 100)
        shuffled = measure_tones(list(np.random.default_rng(0).permutation(self.KINDS)), 100)
        values = compare_words(good, shuffled, targets)
        assert values["word_gain_db_lowest"] <= 0
        assert values["word_gain_db_after"] < 0.5 * values["word_gain_db_before"]

    def test_the_length_is_no_word(self) -> None:
        """Recordings of other lengths are not compared: a model that only learned lengths would pass by them."""
        targets = measure_tones([0] * 8, 0, 0.3) + measure_tones([1] * 8, 0, 2.0)
        assert compare_words(targets, targets, targets) == {}

    def test_captions_that_are_all_alike_cannot_be_told_apart(self) -> None:
        targets = measure_tones([0] * 12, 0)
        assert compare_words(targets, targets, targets) == {}
