"""Every channel that sounds is heard in the mix, whatever its place; what the layout says is mixed by ITU-R BS.775."""

import numpy as np
import pytest

from audiotune.audio.downmix import ChannelStatistics, apply_mix, choose_mix, mix_to_mono

RATE = 48_000
SURROUND = ("FL", "FR", "FC", "LFE", "BL", "BR")


def tones(channels: int) -> np.ndarray:
    """One tone of its own for each channel, [frames, channels]."""
    t = np.arange(RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * 100 * (c + 1) * t) for c in range(channels)], axis=1).astype(np.float32)


def mixed(frames: np.ndarray, speakers: tuple[str, ...] = ()) -> np.ndarray:
    statistics = ChannelStatistics(frames.shape[1])
    for start in range(0, len(frames), 10_000):
        statistics.add(frames[start : start + 10_000])
    return apply_mix(frames, choose_mix(speakers, statistics.covariance)[0])


def measure_gains(stereo: np.ndarray, channels: int) -> np.ndarray:
    """[2, channels]: how much of each channel's tone is on each side."""
    t = np.arange(len(stereo)) / RATE
    carriers = np.stack([np.sin(2 * np.pi * 100 * (c + 1) * t) for c in range(channels)])
    return np.abs(2 * carriers @ stereo / len(stereo)).T / 0.3


def test_surround_has_the_coefficients_of_itu_r_bs_775() -> None:
    gains = measure_gains(mixed(tones(6), SURROUND), 6)
    assert gains == pytest.approx(np.array([[1, 0, 0.7071, 0.5, 0.7071, 0], [0, 1, 0.7071, 0.5, 0, 0.7071]]), abs=1e-3)


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 8, 16])
def test_of_unknown_channels_all_are_heard(channels: int) -> None:
    gains = measure_gains(mixed(tones(channels)), channels)
    assert gains.max(axis=0).min() > 0.7


@pytest.mark.parametrize("alone", range(4))
def test_one_channel_of_four_comes_from_the_centre(alone: int) -> None:
    frames = tones(4) * (np.arange(4) == alone)
    assert measure_gains(mixed(frames), 4)[:, alone] == pytest.approx([1, 1], abs=1e-3)


def test_a_pair_stays_left_and_right() -> None:
    frames = tones(4) * np.array([0, 0, 1, 1], np.float32)
    assert measure_gains(mixed(frames), 4)[:, 2:] == pytest.approx(np.eye(2), abs=1e-3)


def test_inputs_that_only_hiss_are_left_out() -> None:
    statistics = ChannelStatistics(4)
    statistics.add(tones(4) * np.array([0.0006, 0.0006, 1, 1], np.float32))
    assert choose_mix((), statistics.covariance)[0] == ((0, 0, 1, 0), (0, 0, 0, 1))


@pytest.mark.parametrize("speakers", [(), ("FL", "FR", "BL", "BR")])
def test_channels_of_opposite_polarity_do_not_cancel(speakers: tuple[str, ...]) -> None:
    one = tones(1)[:, 0]
    frames = np.stack([one, one, -one, -one], axis=1)
    if speakers:
        frames[:, 2:] /= 0.7071
    assert np.abs(mixed(frames, speakers)).max() > 0.25


def test_of_ambisonics_the_omnidirectional_channel_is_heard() -> None:
    speakers = ("AMBI0", "AMBI1", "AMBI2", "AMBI3")
    frames = tones(1) * np.array([1, 0.7, -0.5, 0.1], np.float32)
    assert np.allclose(mixed(frames, speakers), frames[:, :1])
    assert np.abs(mixed(tones(4) * np.array([0, 1, 1, 0], np.float32), speakers)).max() > 0.25


def test_one_and_two_channels_stay_as_they_are() -> None:
    for channels in (1, 2):
        assert np.array_equal(mixed(tones(channels)), tones(channels))


def test_silence_stays_silent() -> None:
    assert mixed(np.zeros((100, 5), np.float32)).shape == (100, 2)


def test_mono_of_opposite_channels_is_no_silence() -> None:
    one = tones(1)
    assert np.abs(mix_to_mono(np.concatenate([one, -one], axis=1))).max() == pytest.approx(0.3, abs=1e-3)
    assert np.array_equal(mix_to_mono(np.concatenate([one, one], axis=1)), one)
