"""Estimates the noise floor: the level of a recording when nobody plays. It is steady and near the lowest level.

Minimum statistics (after R. Martin, 2001) on blocks of 100 ms that keep their level for half a second: hiss and hum do, decays
do not; drones do, but they are louder. The window extends to both sides, since the whole recording is known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from components.segment.features import RecordingFeatures
from components.segment.settings import Settings

Levels = NDArray[np.float32]
_BLOCK_HOPS = 20  # 100 ms
_BATCH_BLOCKS = 4096
_STEADY_DB = (6.0, 3.0, 3.0, 3.0)  # variation of steady noise within half a second, by band; most in the narrow lowest one
_LOUD_BLOCKS = 5  # the loudest half second defines the loud level, also in a recording of hours
_LOUD_TO_NOISE_DB = 25.0  # least distance of noise below the loud level


def power_to_db(power: NDArray[np.float32] | NDArray[np.float64]) -> Levels:
    """10 log10(power), at least -120 dB."""
    level = np.asarray(np.maximum(power, 1e-12), dtype=np.float32)  # in place: a recording of hours has millions of hops
    np.log10(level, out=level)
    level *= 10
    return level


@dataclass(frozen=True)
class NoiseFloor:
    """Level of the noise in dBFS. `by_block`: float32 [blocks of 100 ms, bands]; the last block includes the rest."""

    by_block: Levels
    hops: int

    def levels_at(self, first: int, last: int) -> Levels:
        """For the hops [first, last): float32 [hops, bands]."""
        return self.by_block[np.minimum(np.arange(first, min(last, self.hops)) // _BLOCK_HOPS, len(self.by_block) - 1)]


def estimate_noise_floor(heard: RecordingFeatures, settings: Settings) -> NoiseFloor:
    hops, bands = heard.power.shape
    blocks = hops // _BLOCK_HOPS
    unknown = NoiseFloor(np.full((1, bands), -90, np.float32), hops)
    if blocks < 1:
        return unknown
    power = _average_blocks(heard, blocks)
    sounding = power.sum(axis=1) > 1e-11  # digital silence is not the noise of a recording
    if not sounding.any():
        return unknown
    level = power_to_db(power)
    loud = _find_loud_level(level.max(axis=1)[sounding])
    cap = min(settings.floor_dbfs, loud - _LOUD_TO_NOISE_DB)
    window = 2 * max(1, round(settings.floor_window_s / (_BLOCK_HOPS * heard.hop_s))) + 1
    each = [_estimate_band(power[:, b], level[:, b], sounding, _STEADY_DB[b], cap, window, settings) for b in range(bands)]
    return NoiseFloor(np.stack(each, axis=1), hops)


def _average_blocks(heard: RecordingFeatures, blocks: int) -> Levels:
    """Mean power of each block: float32 [blocks, bands]. Computed in batches to bound the memory."""
    power = np.empty((blocks, heard.power.shape[1]), np.float32)
    for first in range(0, blocks, _BATCH_BLOCKS):
        last = min(first + _BATCH_BLOCKS, blocks)
        hops = heard.power[first * _BLOCK_HOPS : last * _BLOCK_HOPS]
        power[first:last] = hops.reshape(last - first, _BLOCK_HOPS, -1).mean(axis=1)
    return power


def _find_loud_level(level: Levels) -> float:
    """The level that the loudest half second exceeds; in short recordings the loudest twentieth."""
    rank = max(1, min(_LOUD_BLOCKS, len(level) // 20))
    return float(np.partition(level, -rank)[-rank])


def _estimate_band(
    power: Levels, level: Levels, sounding: NDArray[np.bool_], steady_db: float, cap: float, window: int, settings: Settings
) -> Levels:
    """The floor of one band by block."""
    steady = sounding & (maximum_filter1d(level, 5) - minimum_filter1d(level, 5) < steady_db)
    if steady.sum() < 5:
        return np.full(len(level), min(cap, float(level[sounding].min())), np.float32)
    quiet = steady & (level < np.quantile(level[steady], 0.01) + steady_db)
    lowest = min(cap, float(power_to_db(power[quiet].mean())))
    near = minimum_filter1d(np.where(steady, level, np.float32(np.inf)), window) + steady_db
    counted = uniform_filter1d((steady & (level < near)).astype(np.float64), window)
    local = power_to_db(uniform_filter1d(np.where(steady & (level < near), power, 0.0), window) / np.maximum(counted, 1e-9))
    known = (counted * window > 2.5) & (local < lowest + settings.floor_rise_db)  # else the whole window is music
    return np.clip(np.where(known, local, lowest), lowest - 6, min(lowest + settings.floor_rise_db, cap)).astype(np.float32)
