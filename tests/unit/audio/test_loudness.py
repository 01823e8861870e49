"""Loudness against the figures that EBU Tech 3341 demands, on signals made as it describes them."""

from __future__ import annotations

import numpy as np
import pytest

from audiotune.audio.loudness import LoudnessMeter, _compute_k_weighting, measure_integrated_lufs, measure_true_peak_dbtp
from audiotune.audio.sound import Sound

RATE = 48_000


def tone(*steps: tuple[float, float], rate: int = RATE, channels: int = 2, hz: float = 1000.0) -> Sound:
    """A sine whose peak takes the given levels: (dBFS, seconds) after one another."""
    level = np.concatenate([np.full(round(seconds * rate), 10 ** (dbfs / 20)) for dbfs, seconds in steps])
    wave = level * np.sin(2 * np.pi * hz * np.arange(len(level)) / rate)
    return Sound(np.tile(wave.astype(np.float32), (channels, 1)), rate)


# EBU Tech 3341 (v4, 2023), table 1: minimum requirements, cases 1 to 5. Tolerance there: 0.1 LU.
CASES = [
    ("case 1", [(-23.0, 20.0)], -23.0),
    ("case 2", [(-33.0, 20.0)], -33.0),
    ("case 3", [(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)], -23.0),
    ("case 4", [(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)], -23.0),
    ("case 5", [(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
]


@pytest.mark.parametrize(("name", "steps", "lufs"), CASES, ids=[case[0] for case in CASES])
def test_ebu_tech_3341(name: str, steps: list[tuple[float, float]], lufs: float) -> None:
    assert measure_integrated_lufs(tone(*steps)) == pytest.approx(lufs, abs=0.1)


def test_ebu_tech_3341_case_6_weighs_surround() -> None:
    """5.0: L and R at -28 dBFS, C at -24, Ls and Rs at -30, 20 s: -23 LUFS."""
    wave = tone((0.0, 20.0), channels=1).data[0]
    levels = np.array([-28.0, -28.0, -24.0, -30.0, -30.0])
    sound = Sound((10 ** (levels / 20))[:, None].astype(np.float32) * wave, RATE)
    assert measure_integrated_lufs(sound) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_other_rates_measure_the_same(rate: int) -> None:
    assert measure_integrated_lufs(tone((-23.0, 5.0), rate=rate)) == pytest.approx(-23.0, abs=0.1)


def test_filter_is_the_one_of_the_standard() -> None:
    """BS.1770-4, tables 1 and 2, for 48 kHz."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621]
    assert np.allclose(_compute_k_weighting(48_000), [shelf, high_pass], atol=1e-6)


def test_blocks_of_any_length_give_the_same() -> None:
    sound = tone((-20.0, 1.3), (-40.0, 0.7), (-12.0, 0.9))
    whole, parts = LoudnessMeter(RATE, 2), LoudnessMeter(RATE, 2)
    whole.add(sound.data.T)
    for start in range(0, sound.frames, 777):
        parts.add(sound.data.T[start : start + 777])
    assert parts.lufs == pytest.approx(whole.lufs, abs=1e-9)
    assert parts.true_peak_dbtp == whole.true_peak_dbtp


def test_true_peak_finds_what_lies_between_the_frames() -> None:
    """EBU Tech 3341, case 16: a quarter of the rate, phase 45 degrees, -6 dBFS: -6.0 dBTP +0.2 -0.4, frames show -9."""
    t = np.arange(RATE) / RATE
    wave = 10 ** (-6 / 20) * np.sin(2 * np.pi * RATE / 4 * t + np.pi / 4)
    sound = Sound(wave.astype(np.float32), RATE)
    assert sound.peak_dbfs == pytest.approx(-9.0, abs=0.05)
    assert -6.4 <= (measure_true_peak_dbtp(sound) or 0.0) <= -5.8


def test_true_peak_skips_nothing_that_matters() -> None:
    """The pruned search equals a full one."""
    from audiotune.audio.loudness import _PHASES

    frames = np.random.default_rng(1).standard_normal(5000).astype(np.float32) * 0.1
    frames[3000:] *= 1.5
    padded = np.concatenate([frames, np.zeros(11, np.float32)])
    full = max(float(np.abs(np.convolve(padded, phase)).max()) for phase in _PHASES)
    full = max(full, float(np.abs(frames).max()))
    assert measure_true_peak_dbtp(Sound(frames, RATE)) == pytest.approx(20 * np.log10(full), abs=1e-3)


def test_silence_has_no_level() -> None:
    silence = Sound(np.zeros((2, RATE), np.float32), RATE)
    assert measure_integrated_lufs(silence) is None
    assert measure_true_peak_dbtp(silence) is None
    assert measure_integrated_lufs(tone((-80.0, 3.0))) is None


def test_a_short_sound_counts_as_one_block() -> None:
    assert measure_integrated_lufs(tone((-23.0, 0.2))) == pytest.approx(-23.0, abs=0.3)
    assert LoudnessMeter(RATE, 2).lufs is None
