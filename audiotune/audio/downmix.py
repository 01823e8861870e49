"""Mixes any number of channels to two (or to one), so that everything that sounds is heard.

Known speakers are mixed with the coefficients of Recommendation ITU-R BS.775-3, annex 4: centre and surround at -3 dB. LFE, which the
recommendation leaves out, is mixed at -6 dB, because recorders use the place for any input. Of ambisonics (B-format) both sides get
the omnidirectional channel. Channels without a known speaker are mixed by energy: the silent ones are left out, pairs stay left and
right, a single channel comes from the centre, and no channel may cancel another.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mix = tuple[tuple[float, ...], ...]  # [2][channels]: what each side takes of each channel
_CENTRE = 0.7071
_SPEAKERS: dict[str, tuple[float, float]] = {
    "FL": (1.0, 0.0), "FR": (0.0, 1.0), "FC": (_CENTRE, _CENTRE), "LFE": (0.5, 0.5), "LFE2": (0.5, 0.5),
    "BL": (_CENTRE, 0.0), "BR": (0.0, _CENTRE), "SL": (_CENTRE, 0.0), "SR": (0.0, _CENTRE), "BC": (0.5, 0.5),
    "FLC": (_CENTRE, 0.5), "FRC": (0.5, _CENTRE), "WL": (1.0, 0.0), "WR": (0.0, 1.0), "DL": (1.0, 0.0), "DR": (0.0, 1.0),
    "TC": (0.5, 0.5), "TFL": (_CENTRE, 0.0), "TFC": (0.5, 0.5), "TFR": (0.0, _CENTRE), "TBL": (0.5, 0.0), "TBC": (0.5, 0.5),
    "TBR": (0.0, 0.5), "TSL": (_CENTRE, 0.0), "TSR": (0.0, _CENTRE),
}  # fmt: skip
_SILENT_DB = -80.0  # mean square of a channel without sound, relative to full scale
_FAR_BELOW_DB = -60.0  # and relative to the loudest channel: crosstalk and noise of inputs that were open
_LEAST_HEARD = 0.1  # of the energy of all channels must be in the mix


class ChannelStatistics:
    """The energy of each channel and their products, over a stream of blocks."""

    def __init__(self, channels: int) -> None:
        self._products = np.zeros((channels, channels))
        self._frames = 0

    def add(self, frames: NDArray[np.float32]) -> None:
        """Takes the next block, float32 [frames, channels]."""
        self._products += frames.T @ frames
        self._frames += len(frames)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """[channels, channels], mean products; the diagonal holds mean squares."""
        return self._products / max(1, self._frames)


def choose_mix(speakers: Sequence[str], covariance: NDArray[np.float64]) -> tuple[Mix, str]:
    """What each side takes of each channel, and the choice in words; ((), "") for one or two channels, which stay as they are.

    Args:
        speakers: FFmpeg's name of each channel's speaker; () where none is known.
        covariance: of the whole sound, see `ChannelStatistics`.
    """
    channels = len(covariance)
    if channels <= 2:
        return (), ""
    known = _mix_speakers(speakers) if len(speakers) == channels else None
    if known is not None and _hears_all(known, covariance):
        kind = (
            "ambisonic: the omnidirectional channel" if speakers[0].startswith("AMBI") else f"{' '.join(speakers)}, ITU-R BS.775"
        )
        return _to_tuples(known), f"{channels} channels mixed to stereo ({kind})"
    mix = _mix_by_energy(covariance)
    return _to_tuples(mix), f"{channels} channels mixed to stereo ({_describe_sides(mix)})"


def apply_mix(frames: NDArray[np.float32], mix: Mix) -> NDArray[np.float32]:
    """[frames, channels] -> [frames, 2]; without a mix the frames as they are."""
    return frames @ np.array(mix, np.float32).T if mix else frames


def mix_to_mono(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """[frames, channels] -> [frames, 1]: the mean; channels that would cancel each other are turned round before."""
    mean: NDArray[np.float32] = frames.mean(axis=1, keepdims=True, dtype=np.float32)
    if frames.shape[1] < 2 or not len(frames):
        return mean
    statistics = ChannelStatistics(frames.shape[1])
    statistics.add(frames)
    covariance = statistics.covariance
    weights = choose_mono_weights(covariance)
    return mean if (weights > 0).all() else np.asarray(frames @ weights[:, None], dtype=np.float32)


def choose_mono_weights(covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """[channels]: what the mono mix takes of each channel, see `mix_to_mono`. `covariance`: of the whole sound."""
    channels = len(covariance)
    if covariance.sum() >= _LEAST_HEARD * np.trace(covariance):  # the energy of the channels' sum
        return np.full(channels, 1 / channels, np.float32)
    signs = _add_channels(covariance, np.flatnonzero(covariance.diagonal() > 0), np.ones(channels))
    return (signs / channels).astype(np.float32)


def _mix_speakers(speakers: Sequence[str]) -> NDArray[np.float64] | None:
    if all(name.startswith("AMBI") for name in speakers):
        return np.array([[1.0] + [0.0] * (len(speakers) - 1)] * 2)
    if not all(name in _SPEAKERS for name in speakers):
        return None
    return np.array([_SPEAKERS[name] for name in speakers]).T


def _hears_all(mix: NDArray[np.float64], covariance: NDArray[np.float64]) -> bool:
    """Whether the mix has the energy of its channels: they neither cancel each other nor lie where the mix takes nothing."""
    return float(np.einsum("sc,cd,sd->", mix, covariance, mix)) >= _LEAST_HEARD * float(np.trace(covariance))


def _list_sounding(covariance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Channels that sound; the loudest of a sound that is silent."""
    energy = covariance.diagonal()
    least = max(10 ** (_SILENT_DB / 10), float(energy.max()) * 10 ** (_FAR_BELOW_DB / 10))
    found = np.flatnonzero(energy > least)
    return found if len(found) else np.flatnonzero(energy == energy.max())[:1]


def _mix_by_energy(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    sounding = set(_list_sounding(covariance).tolist())
    mix = np.zeros((2, len(covariance)))
    alone = [channel for channel in sounding if channel ^ 1 not in sounding]
    for channel in sounding:
        mix[channel % 2, channel] = 1.0
        if channel in alone:
            mix[:, channel] = 1.0 if len(sounding) == 1 else _CENTRE
    if len(alone) == len(sounding) == 2:  # one microphone of each pair: left and right
        mix[:, sorted(alone)] = np.eye(2)
    for side in (0, 1):
        mix[side] = _add_channels(covariance, np.flatnonzero(mix[side]), mix[side])
    return mix


def _add_channels(
    covariance: NDArray[np.float64], channels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weights, with the sign of a channel turned round where it would cancel what was added before it."""
    sum_of = np.zeros(len(covariance))
    for channel in channels:
        product = float(sum_of @ covariance[:, channel])
        both = float(sum_of @ covariance @ sum_of) * float(covariance[channel, channel])
        sign = -1.0 if product < -0.5 * np.sqrt(max(both, 0.0)) and both > 0 else 1.0
        sum_of[channel] = sign * weights[channel]
    return sum_of


def _describe_sides(mix: NDArray[np.float64]) -> str:
    sides = [" + ".join(str(channel + 1) for channel in np.flatnonzero(side)) for side in mix]
    return f"{sides[0]} on both sides" if sides[0] == sides[1] else f"left {sides[0]}, right {sides[1]}"


def _to_tuples(mix: NDArray[np.float64]) -> Mix:
    return tuple(tuple(float(weight) for weight in side) for side in mix)
