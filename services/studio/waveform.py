"""Waveform peaks: a browser draws a sound from them without decoding it."""

import functools
from pathlib import Path

import numpy as np

from audiotune.audio import sound as sounds
from audiotune.audio.sound import Sound

BUCKETS = 480  # about one per pixel on a phone's screen, one per two pixels on a desktop


def compute_peaks(sound: Sound, buckets: int = BUCKETS) -> list[int]:
    """The highest |value| of each of `buckets` equal parts, over all channels, as 0..100 percent of full scale.

    Short sounds give fewer parts, one per frame at most; no frames give an empty list.
    """
    if not sound.frames:
        return []
    level = np.abs(sound.data).max(axis=0)
    edges = np.linspace(0, sound.frames, min(buckets, sound.frames) + 1).astype(np.int64)[:-1]
    heights = np.maximum.reduceat(level, edges)
    return [int(x) for x in np.round(np.clip(heights, 0, 1) * 100)]


@functools.lru_cache(maxsize=512)
def read_file_peaks(path: Path) -> tuple[int, ...]:
    """Peaks of a sound file; blobs never change, so results are cached by path. Raises SoundError."""
    return tuple(compute_peaks(sounds.read_sound(path)))
