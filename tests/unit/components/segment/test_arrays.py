"""Powers in two bytes: right to 0.005 dB over 180 dB, and nothing but powers comes back."""

from __future__ import annotations

import numpy as np
import pytest

from components.segment.compact_arrays import GrowingArray, PowerArray


def test_powers_come_back_right_to_a_two_hundredth_of_a_decibel() -> None:
    said_db = np.linspace(-144, 36, 40_001).astype(np.float64)
    powers = PowerArray(1, 2.0**10)
    for part in np.array_split(said_db, 7):
        powers.add((10 ** (part / 10)).astype(np.float32)[:, None])
    heard_db = 10 * np.log10(powers.finish()[:, 0].astype(np.float64))
    assert np.abs(heard_db - said_db).max() < 0.005


@pytest.mark.parametrize(("power", "kept"), [(0.0, 0.0), (1e12, (65504 / 2.0**10) ** 2)])
def test_silence_stays_silent_and_what_is_absurdly_loud_stays_finite(power: float, kept: float) -> None:
    powers = PowerArray(2, 2.0**10)
    powers.add(np.full((3, 2), power, np.float32))
    whole = powers.finish()
    assert whole.shape == (3, 2)
    assert whole[1:3] == pytest.approx(np.full((2, 2), kept), rel=1e-6)


def test_rows_stay_what_they_are_while_an_array_grows() -> None:
    grown = GrowingArray((0, 2), np.int64)
    for first in range(0, 60_000, 1000):
        grown.add_rows(1000)[:, 0] = np.arange(first, first + 1000)
    whole = grown.trim_rows()
    assert (whole[:, 0] == np.arange(60_000)).all()
    assert not whole[:, 1].any()
