"""The truth about jams of ../shared/tools/make_jam.py, from the energy of each sound alone.

make_jam itself takes a file for one sound from its first to its last frame. Some files begin with silence, or hold several sounds with
pauses of seconds between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from benchmarks.takes.rooms import Room
from benchmarks.takes.simulated_take import HOP_S, SimulatedTake, SourceEnergy, describe_sounds
from benchmarks.takes.sources import RATE_HZ, Source

_HOP = round(HOP_S * RATE_HZ)
_ROOM = Room(-66, -64, 50, 0, 0, 0, 0, 0.002)  # its hiss, hum and offset
_OVERDRIVE = 6  # of sounds that are driven into clipping


def describe_jam(events: Sequence[dict[str, Any]], sounds: Path, minutes: float) -> SimulatedTake:
    """`events`: make_jam's truth. The take has no frames."""
    played = []
    for event in events:
        sound = _read_sound(sounds / event["sound"])
        sound = np.clip(sound * _OVERDRIVE, -1, 1) if event["clipped"] else sound
        start = round(event["start_s"] * RATE_HZ)
        sound = np.pad(sound, ((start % _HOP, 0), (0, 0)))
        energy = (sound[: len(sound) // _HOP * _HOP].astype(np.float64) ** 2).sum(axis=1).reshape(-1, _HOP).mean(axis=1)
        alone = SourceEnergy("recorded", start // _HOP, energy * 10 ** (event["gain_db"] / 10))
        played.append((Source(np.zeros(0, np.float32), "recorded", one_phrase=False), alone))
    hops = round(minutes * 60 / HOP_S)
    return SimulatedTake(
        np.zeros((0, 2), np.float32), describe_sounds(played, hops, _ROOM), tuple(energy for _, energy in played), "make_jam"
    )


@cache
def _read_sound(path: Path) -> NDArray[np.float32]:
    """float32 [frames, 2] at RATE_HZ; mono with equal power in both channels, as make_jam pans it."""
    data, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    data = soxr.resample(data, rate_hz, RATE_HZ) if rate_hz != RATE_HZ else data
    return data[:, :2] if data.shape[1] >= 2 else np.repeat(data * np.float32(0.5**0.5), 2, axis=1)
