"""A long take: several players, gaps, hum, hiss, DC; and where each sound starts and ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiotune.audio.sound import Frames, Sound
from audiotune.audio.synthesizer.patch import TIMBRES, Patch, make_random_patch
from audiotune.audio.synthesizer.voice import play_patch

_PLAYERS = ("ana", "bo", "cem")


@dataclass(frozen=True, slots=True)
class JamEvent:
    """One sound of a take. `start_s` and `end_s` are exact to the frame; half-open."""

    start_s: float
    end_s: float
    caption: str
    player: str
    patch: Patch


def play_jam(
    minutes: float,
    seed: int,
    *,
    sample_rate_hz: int = 44_100,
    players: tuple[str, ...] = _PLAYERS,
    sound_s: tuple[float, float] = (0.8, 3.0),
    gap_s: tuple[float, float] = (0.6, 1.8),
    hum_dbfs: float = -58.0,
    hiss_dbfs: float = -66.0,
    dc: float = 0.004,
    overlap: float = 0.0,
) -> tuple[Sound, list[JamEvent]]:
    """Makes a mono take and its events in order of their start.

    Args:
        minutes: length of the take; the last sound ends before the take.
        players: each has two favourite timbres, so that players sound different.
        sound_s, gap_s: shortest and longest sound and gap in seconds.
        hum_dbfs, hiss_dbfs: levels (RMS) of 50 Hz hum and white hiss; -inf for none.
        dc: offset of all frames.
        overlap: chance that a sound begins before the one before it has ended.
    """
    rng = np.random.default_rng(seed)
    frames = round(minutes * 60 * sample_rate_hz)
    take = _make_background_noise(frames, sample_rate_hz, hum_dbfs, hiss_dbfs, dc, rng)
    taste = {player: rng.choice(TIMBRES, 2) for player in players}
    events: list[JamEvent] = []
    at = round(rng.uniform(*gap_s) * sample_rate_hz)
    while True:
        player = str(rng.choice(players))
        patch = make_random_patch(rng, timbre=str(rng.choice(taste[player])) if rng.random() < 0.7 else None)
        sound = play_patch(patch, rng.uniform(*sound_s), sample_rate_hz, int(rng.integers(2**31)))
        end = at + sound.frames
        if end >= frames:
            return Sound(np.clip(take, -1, 1)[None], sample_rate_hz), events
        take[at:end] += sound.data[0] * np.float32(10 ** (rng.uniform(-12, -3) / 20))
        events.append(JamEvent(at / sample_rate_hz, end / sample_rate_hz, patch.make_caption(), player, patch))
        back = overlap > 0 and rng.random() < overlap
        at = end + round((-0.4 * sound.duration_s if back else rng.uniform(*gap_s)) * sample_rate_hz)


def _make_background_noise(
    frames: int, rate_hz: int, hum_dbfs: float, hiss_dbfs: float, dc: float, rng: np.random.Generator
) -> Frames:
    """The background of the whole take: mains hum with one overtone, hiss, DC."""
    turn = 2 * np.pi * 50.0 * np.arange(frames) / rate_hz
    hum = (np.sin(turn) + 0.4 * np.sin(3 * turn)) * 2**0.5 * 10 ** (hum_dbfs / 20)
    hiss = rng.standard_normal(frames) * 10 ** (hiss_dbfs / 20)
    noise: Frames = (hum + hiss + dc).astype(np.float32)
    return noise
