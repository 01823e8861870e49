"""Rooms: what is heard beside the players (hiss, hum, crackle, cables) and behind them (reverberation)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from benchmarks.takes.sources import RATE_HZ, Mono

Stereo = NDArray[np.float32]  # [frames, 2]


@dataclass(frozen=True)
class Room:
    """What a room and its gear add.

    Attributes:
        hiss_dbfs, hum_dbfs: levels (RMS) of white hiss and of the mains hum with its overtones.
        hum_hz: 50 or 60.
        reverb_s: time in which the reverberation falls by 60 dB; 0: none. reverb_db: its energy relative to the direct sound.
        crackles_per_s: impulses of less than a millisecond, as of a dirty potentiometer or vinyl.
        clicks_per_minute: cables that are touched: thumps of 10 to 40 ms.
        dc: offset of all frames.
    """

    hiss_dbfs: float
    hum_dbfs: float
    hum_hz: float
    reverb_s: float
    reverb_db: float
    crackles_per_s: float
    clicks_per_minute: float
    dc: float


ROOMS = {
    "line": Room(-78, -90, 50, 0, 0, 0, 0, 0.0005),
    "mixer": Room(-66, -64, 50, 0, 0, 0, 0.5, 0.002),
    "studio": Room(-70, -80, 50, 0.4, -15, 0, 0, 0.0),
    "hall": Room(-64, -75, 60, 1.8, -12, 0, 0, 0.0),
    "amplifier": Room(-58, -46, 50, 0.3, -18, 0, 1, 0.0),
    "cellar": Room(-62, -52, 60, 0.8, -14, 0.15, 2, 0.001),
    "vinyl": Room(-64, -70, 50, 0, 0, 2.0, 0, 0.0),
    "phone": Room(-54, -85, 50, 0.6, -10, 0, 0.5, 0.0),
}


def make_reverberation(room: Room, rng: np.random.Generator) -> Mono | None:
    """The impulse response of a room without its direct sound, or None."""
    if room.reverb_s <= 0:
        return None
    time_s = np.arange(round(1.2 * room.reverb_s * RATE_HZ)) / RATE_HZ
    response = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / room.reverb_s) * (time_s > 0.008)
    return (response * (10 ** (room.reverb_db / 20) / np.sqrt((response**2).sum()))).astype(np.float32)


def reverberate(sound: Mono, response: Mono | None) -> Mono:
    """The sound and its reverberation, longer by the length of the response."""
    if response is None:
        return sound
    out = np.asarray(oaconvolve(sound, response), dtype=np.float32)
    out = np.concatenate([np.zeros(1, np.float32), out])[: len(out)]
    out[: len(sound)] += sound
    return out


def make_background(room: Room, frames: int, rng: np.random.Generator) -> Stereo:
    """Everything that is heard in the room when nobody plays: float32 [frames, 2]."""
    turn = 2 * np.pi * room.hum_hz * np.arange(frames) / RATE_HZ
    hum = sum(np.sin(n * turn + n) * share for n, share in ((1, 1.0), (2, 0.4), (3, 0.5), (5, 0.2), (7, 0.1)))
    hum = hum * np.sqrt(2 / 1.46) * 10 ** (room.hum_dbfs / 20)
    out = np.repeat((hum + room.dc).astype(np.float32)[:, None], 2, axis=1)
    out += rng.standard_normal(out.shape, dtype=np.float32) * np.float32(10 ** (room.hiss_dbfs / 20))
    _add_crackle(out, room, rng)
    _add_cable_clicks(out, room, rng)
    return out


def _add_crackle(out: Stereo, room: Room, rng: np.random.Generator) -> None:
    """Impulses of up to 0.8 ms, from just over the hiss to 40 dB over it."""
    for _ in range(rng.poisson(room.crackles_per_s * len(out) / RATE_HZ)):
        impulse = rng.standard_normal(int(rng.integers(4, 40))) * 10 ** ((room.hiss_dbfs + rng.uniform(6, 40)) / 20)
        at = int(rng.integers(len(out) - len(impulse)))
        out[at : at + len(impulse)] += impulse.astype(np.float32)[:, None]


def _add_cable_clicks(out: Stereo, room: Room, rng: np.random.Generator) -> None:
    for _ in range(rng.poisson(room.clicks_per_minute * len(out) / RATE_HZ / 60)):
        time_s = np.arange(round(rng.uniform(0.01, 0.04) * RATE_HZ)) / RATE_HZ
        thump = np.sin(2 * np.pi * rng.uniform(80, 400) * time_s) * np.exp(-time_s / 0.006) * 10 ** (rng.uniform(-40, -15) / 20)
        at = int(rng.integers(len(out) - len(thump)))
        out[at : at + len(thump)] += thump.astype(np.float32)[:, None]
