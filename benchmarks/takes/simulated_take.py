"""Players in a room: a take of some minutes, and the truth about it from the energy of each source alone.

How a sound is defined. Each source is rendered alone, with its level and its reverberation, and measured in hops of a millisecond.
- It *sounds* where its energy is at least that of the room's hiss, and no more than 60 dB below its own loudest hop.
- Its *onset* is the first such hop. After a pause of its own of PAUSE_S or more, a further sound with an onset of its own begins.
- After a shorter pause of a recorded file or of talk, a segment may begin or not: nobody can say whether that is a new sound. What
  the synthesizer plays in one go is one sound, whatever pauses it has.
- An onset is *demanded* if the sound lasts LEAST_S, gets LEAST_OVER_HISS_DB louder than the hiss, and within its first half second
  comes within MASKED_DB of everything else that sounds. Other onsets may be found or not.
- The *first energy* of a sound is where it is 30 dB below the hiss and 80 dB below its loudest hop. No segment may begin earlier.
Crackle and the clicks of cables are no sounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from audiotune.audio.synthesizer import TIMBRES
from benchmarks.takes.rooms import ROOMS, Room, Stereo, make_background, make_reverberation, reverberate
from benchmarks.takes.sources import RATE_HZ, Mono, Player, Source, play_source

GAPS_S = (0.15, 0.6, 1.5, 4.0, 9.0)
PAUSE_S = 1.5
SHORT_PAUSE_S = 0.05  # a shorter silence is no pause
LEAST_S = 0.08
LEAST_OVER_HISS_DB = 12.0
MASKED_DB = 20.0
LEVELS_DB = (0.0, -6.0, -12.0, -20.0, -28.0)  # of players
HOP_S = 0.001
_HOP = round(HOP_S * RATE_HZ)
Line = NDArray[np.float64]
KINDS = {
    "note": 0.2,
    "recorded": 0.3,
    "plucks": 0.1,
    "drone": 0.07,
    "swell": 0.07,
    "feedback": 0.06,
    "fade": 0.06,
    "talk": 0.08,
    "door": 0.06,
}


@dataclass(frozen=True)
class TrueSound:
    """One sound of the truth, in seconds from the start of the take.

    Attributes:
        first_energy_s, onset_s, end_s: as this module defines them.
        kind: of its source.
        demanded: whether an onset must be found here; otherwise it may be.
        continues: it follows a pause within its source that is shorter than PAUSE_S.
        overlapped: whether another source sounds at the onset.
    """

    first_energy_s: float
    onset_s: float
    end_s: float
    kind: str
    demanded: bool
    continues: bool
    overlapped: bool


@dataclass(frozen=True)
class SourceEnergy:
    """The energy of one source in hops of HOP_S, from the hop `first` of the take on."""

    kind: str
    first: int
    energy: Line


@dataclass(frozen=True)
class SimulatedTake:
    """A take (float32 [frames, 2] at RATE_HZ), the truth in order of time, and the energy of each source."""

    frames: Stereo
    sounds: tuple[TrueSound, ...]
    sources: tuple[SourceEnergy, ...]
    room: str


def simulate_take(
    minutes: float, seed: int, *, overlap: float = 0.0, files: tuple[Path, ...] = (), room: str | None = None
) -> SimulatedTake:
    """Lets three to five players play in turns.

    Args:
        seed: decides everything; the same arguments give the same take.
        overlap: chance that a sound begins before the one before it has ended.
        files: recorded sounds, of which each player has some; without them the synthesizer plays instead.
        room: a key of ROOMS; by default the seed chooses.
    """
    rng = np.random.default_rng(seed)
    name = room or str(rng.choice(list(ROOMS)))
    response = make_reverberation(ROOMS[name], rng)
    take = make_background(ROOMS[name], round(minutes * 60 * RATE_HZ), rng)
    players = _hire_players(files, rng)
    played: list[tuple[Source, SourceEnergy]] = []
    at, kinds = round(rng.uniform(0.5, 3.0) * RATE_HZ), list(KINDS)
    while True:
        player = players[int(rng.integers(len(players)))]
        source = play_source(player, str(rng.choice(kinds, p=list(KINDS.values()))), rng)
        gain = 10 ** ((player.level_db + rng.uniform(-3, 3)) / 20)
        end = at + len(source.data)
        if end + RATE_HZ > len(take):
            break
        heard = reverberate(source.data * np.float32(gain), response)[: len(take) - at]
        _pan(take[at : at + len(heard)], heard, rng.uniform(0.15, 0.85))
        played.append((source, SourceEnergy(source.kind, at // _HOP, _measure_energy(heard))))
        back_s = min(1.0, 0.4 * len(source.data) / RATE_HZ)
        at = end + round((-back_s if rng.random() < overlap else float(rng.choice(GAPS_S))) * RATE_HZ)
        at -= at % _HOP  # so that each source begins with a hop
    sounds = describe_sounds(played, len(take) // _HOP, ROOMS[name])
    return SimulatedTake(np.clip(take, -1, 1), sounds, tuple(energy for _, energy in played), name)


def _hire_players(files: tuple[Path, ...], rng: np.random.Generator) -> list[Player]:
    players = []
    for _ in range(int(rng.integers(3, 6))):
        own = tuple(files[i] for i in rng.choice(len(files), min(len(files), 12), replace=False)) if files else ()
        players.append(Player(tuple(rng.choice(TIMBRES, 3, replace=False)), own, float(rng.choice(LEVELS_DB))))
    return players


def _pan(out: Stereo, sound: Mono, place: float) -> None:
    """Adds a sound to both channels with equal power. `place`: 0 is left, 1 is right."""
    out[:, 0] += sound * np.float32(np.sqrt(1 - place))
    out[:, 1] += sound * np.float32(np.sqrt(place))


def _measure_energy(sound: Mono) -> Line:
    """Mean square of each whole hop."""
    whole = sound[: len(sound) // _HOP * _HOP].astype(np.float64).reshape(-1, _HOP)
    return np.asarray((whole**2).mean(axis=1))


def describe_sounds(played: list[tuple[Source, SourceEnergy]], hops: int, room: Room) -> tuple[TrueSound, ...]:
    """The truth about sources in a room, in order of time. `hops`: length of the take."""
    hiss = 2 * 10 ** (room.hiss_dbfs / 10)  # of both channels, as a panned sound has its energy in both
    total = np.zeros(hops)
    for _, alone in played:
        total[alone.first : alone.first + len(alone.energy)] += alone.energy[: hops - alone.first]
    sounds = []
    for source, alone in played:
        others = total[alone.first : alone.first + len(alone.energy)] - alone.energy
        sounds += _find_sounds_of_source(source, alone, others, hiss)
    return tuple(sorted(sounds, key=lambda sound: sound.onset_s))


def _find_sounds_of_source(source: Source, alone: SourceEnergy, others: Line, hiss: float) -> list[TrueSound]:
    energy, loudest = alone.energy, alone.energy.max()
    runs = _find_runs(energy >= max(hiss, loudest * 1e-6), round(SHORT_PAUSE_S / HOP_S))
    any_energy = np.flatnonzero(energy >= max(hiss * 1e-3, loudest * 1e-8))
    sounds: list[TrueSound] = []
    for (first, last), before in zip(runs, [-(10**9), *(end for _, end in runs)], strict=False):
        paused_s = (first - before) * HOP_S
        if paused_s < PAUSE_S and source.one_phrase:
            continue
        earliest = any_energy[np.searchsorted(any_energy, max(before, 0))]
        sounds.append(
            TrueSound(
                (alone.first + min(earliest, first)) * HOP_S,
                (alone.first + first) * HOP_S,
                (alone.first + last) * HOP_S,
                source.kind,
                paused_s >= PAUSE_S and _is_demanded(first, last, energy, others, hiss),
                paused_s < PAUSE_S,
                bool(others[first] > hiss),
            )
        )
    return sounds


def _find_runs(sounding: NDArray[np.bool_], bridged_hops: int) -> list[tuple[int, int]]:
    """Half-open runs of sounding hops; shorter silences than `bridged_hops` count as sound."""
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], sounding, [False]])))
    runs: list[tuple[int, int]] = []
    for first, last in bounds.reshape(-1, 2).tolist():
        if runs and first - runs[-1][1] < bridged_hops:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs


def _is_demanded(first: int, last: int, energy: Line, others: Line, hiss: float) -> bool:
    if (last - first) * HOP_S < LEAST_S:
        return False
    loudest = uniform_filter1d(energy[first:last], 50).max()  # of 50 ms
    beginning = slice(first, min(last, first + round(0.5 / HOP_S)))
    masked = energy[beginning].sum() < others[beginning].sum() * 10 ** (-MASKED_DB / 10)
    return bool(loudest >= hiss * 10 ** (LEAST_OVER_HISS_DB / 10)) and not masked
