"""Sounds of a take, one source at a time: what the synthesizer plays, talk, a door, feedback, and recorded files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from audiotune.audio.synthesizer import make_random_patch, play_patch

Mono = NDArray[np.float32]
RATE_HZ = 48_000
PEAK = 0.7


@dataclass(frozen=True)
class Source:
    """One sound alone.

    Attributes:
        data: float32 [frames] at RATE_HZ, peak about PEAK.
        kind: the name under which it is scored.
        one_phrase: whether the sound is known to be one, whatever short pauses it has. A recorded file may hold several sounds, and
            talk has words: there, a segment that begins after a pause is neither demanded nor wrong.
    """

    data: Mono
    kind: str
    one_phrase: bool = True


@dataclass(frozen=True)
class Player:
    """What one player plays, and how loud.

    Attributes:
        timbres: favourite timbres of the synthesizer.
        files: recorded sounds to choose from; empty: none.
        level_db: of everything that is played, relative to PEAK.
    """

    timbres: tuple[str, ...]
    files: tuple[Path, ...]
    level_db: float


def play_source(player: Player, kind: str, rng: np.random.Generator) -> Source:
    """One sound of a kind that is a key of SOURCES."""
    return SOURCES[kind](player, rng)


def find_recorded_sounds(folders: list[Path], half: str) -> tuple[Path, ...]:
    """The recorded sounds of one half, "first" or "second". Variants of one sound (name without digits) are in the same half."""
    files = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.suffix in (".mp3", ".flac"))
    return tuple(path for path in files if (_hash_family(path) % 2 == 0) == (half == "first"))


def _hash_family(path: Path) -> int:
    family = "".join(letter for letter in path.stem.lower() if letter.isalpha())
    return hashlib.sha256(family.encode()).digest()[0]


def _play_note(player: Player, rng: np.random.Generator) -> Source:
    """A single sound of the synthesizer, with any envelope."""
    return Source(_play_random_patch(player, rng.uniform(0.3, 4.0), rng), "note")


def _play_recorded(player: Player, rng: np.random.Generator) -> Source:
    if not player.files:
        return _play_note(player, rng)
    return Source(_read_file(player.files[int(rng.integers(len(player.files)))]), "recorded", one_phrase=False)


def _play_plucks(player: Player, rng: np.random.Generator) -> Source:
    """The same pluck 3 to 8 times, a little unevenly: one phrase."""
    pluck = _play_random_patch(player, rng.uniform(0.25, 0.8), rng, "pluck")
    step_s, count = rng.uniform(0.3, 1.1), int(rng.integers(3, 9))
    at = [round((step_s * n + rng.uniform(-0.02, 0.02) * (n > 0)) * RATE_HZ) for n in range(count)]
    out = np.zeros(at[-1] + len(pluck), np.float32)
    for start in at:
        out[start : start + len(pluck)] += pluck * np.float32(rng.uniform(0.7, 1.0))
    return Source(out, "plucks")


def _play_drone(player: Player, rng: np.random.Generator) -> Source:
    return Source(_play_random_patch(player, rng.uniform(6, 20), rng, "drone", register="low"), "drone")


def _play_swell(player: Player, rng: np.random.Generator) -> Source:
    """Grows evenly in decibels out of nothing for 2 to 6 s, then stops within a tenth of a second."""
    seconds = rng.uniform(2, 6)
    sound = _play_random_patch(player, seconds, rng, "drone")
    growth = 10 ** (np.linspace(-70, 0, len(sound)) / 20)
    return Source(_to_peak(sound * growth * _fade_line(len(sound), 0.01, 0.1)), "swell")


def _play_feedback(player: Player, rng: np.random.Generator) -> Source:
    """A tone that grows by itself until the amplifier limits it, wavers, and is cut off by a hand."""
    time_s = np.arange(round(rng.uniform(2, 8) * RATE_HZ)) / RATE_HZ
    growth_db = np.minimum(0, -80 + rng.uniform(25, 80) * time_s)
    wave = 2 * np.pi * np.exp(rng.uniform(np.log(200), np.log(3000))) * time_s + rng.uniform(0, 6)
    wave += 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1.0) * time_s)
    level = 10 ** (growth_db / 20) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.3, 2.0) * time_s))
    return Source(_to_peak(np.tanh(2 * level * np.sin(wave)) * _fade_line(len(wave), 0.01, 0.05)), "feedback")


def _play_fade(player: Player, rng: np.random.Generator) -> Source:
    """A long sound that is faded in and out by hand."""
    sound = _play_random_patch(player, rng.uniform(5, 12), rng, "drone")
    return Source(_to_peak(sound * _fade_line(len(sound), rng.uniform(0.5, 2.5), rng.uniform(1.0, 4.0)) ** 2), "fade")


def _play_talk(player: Player, rng: np.random.Generator) -> Source:
    """Syllables of a buzzing voice through three formants, with hisses between them and breaths of 0.2 to 0.7 s."""
    pitch_hz, parts = rng.uniform(90, 220), []
    for word in range(int(rng.integers(3, 10))):
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < 0.4:
                parts.append(_make_hiss(rng.uniform(0.04, 0.12), rng))
            parts.append(_make_vowel(rng.uniform(0.09, 0.25), pitch_hz * rng.uniform(0.85, 1.2), rng))
        parts.append(np.zeros(round(rng.uniform(0.2, 0.7) if word % 3 == 2 else rng.uniform(0.02, 0.1) * RATE_HZ)))
    return Source(_to_peak(np.concatenate(parts)), "talk", one_phrase=False)


def _make_vowel(seconds: float, pitch_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = (time_s * pitch_hz * (1 - 0.1 * time_s / seconds)) % 1.0 - 0.5
    formants_hz = (rng.uniform(300, 800), rng.uniform(900, 2200), rng.uniform(2400, 3000))
    voice = sum(_resonate(buzz, hertz, 90.0) / (n + 1) for n, hertz in enumerate(formants_hz))
    return np.asarray(voice * _fade_line(len(buzz), 0.02, 0.04))


def _make_hiss(seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = rng.standard_normal(round(seconds * RATE_HZ))
    return np.asarray(
        sosfilt(butter(2, (3500, 9000), "bandpass", fs=RATE_HZ, output="sos"), noise) * _fade_line(len(noise), 0.02, 0.02)
    )


def _play_door(player: Player, rng: np.random.Generator) -> Source:
    """In one of two a creak and a pause; then a thud that rings low for some tenths of a second."""
    time_s = np.arange(round(0.6 * RATE_HZ)) / RATE_HZ
    noise = sosfilt(butter(2, (60, 900), "bandpass", fs=RATE_HZ, output="sos"), rng.standard_normal(len(time_s)))
    thud = noise * np.exp(-time_s / rng.uniform(0.03, 0.09)) + 0.3 * np.sin(2 * np.pi * rng.uniform(70, 120) * time_s) * np.exp(
        -time_s / 0.1
    )
    if rng.random() < 0.5:
        return Source(_to_peak(thud), "door")
    creak_s = np.arange(round(rng.uniform(0.3, 0.9) * RATE_HZ)) / RATE_HZ
    cycles = np.cumsum(rng.uniform(40, 90) * (1 + 0.5 * np.sin(2 * np.pi * 1.3 * creak_s)) / RATE_HZ)
    creak = _resonate((cycles % 1.0 < 0.04).astype(np.float64), rng.uniform(700, 1500), 120.0)
    creak *= 0.25 * np.abs(thud).max() / np.abs(creak).max() * _fade_line(len(creak), 0.05, 0.05)
    pause = np.zeros(round(rng.uniform(0.08, 0.4) * RATE_HZ))
    return Source(_to_peak(np.concatenate([creak, pause, thud])), "door", one_phrase=False)


SOURCES: dict[str, Callable[[Player, np.random.Generator], Source]] = {
    "note": _play_note,
    "recorded": _play_recorded,
    "plucks": _play_plucks,
    "drone": _play_drone,
    "swell": _play_swell,
    "feedback": _play_feedback,
    "fade": _play_fade,
    "talk": _play_talk,
    "door": _play_door,
}


def _play_random_patch(
    player: Player, seconds: float, rng: np.random.Generator, envelope: str | None = None, register: str | None = None
) -> Mono:
    patch = make_random_patch(rng, timbre=str(rng.choice(player.timbres)), envelope=envelope, register=register)
    return play_patch(patch, seconds, RATE_HZ, int(rng.integers(2**31))).data[0]


def _resonate(sound: NDArray[np.float64], hertz: float, width_hz: float) -> NDArray[np.float64]:
    """A resonator of two poles, as one formant of a voice or one mode of wood."""
    radius = np.exp(-np.pi * width_hz / RATE_HZ)
    return np.asarray(lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * hertz / RATE_HZ), radius**2], sound))


def _fade_line(frames: int, in_s: float, out_s: float) -> NDArray[np.float64]:
    """Rises from 0 to 1 and falls to 0 again, in straight lines."""
    time_s = np.arange(frames) / RATE_HZ
    return np.asarray(np.minimum(1, np.minimum(time_s / in_s, (frames / RATE_HZ - time_s) / out_s)))


def _to_peak(sound: NDArray[np.float64]) -> Mono:
    return (sound * (PEAK / max(1e-9, np.abs(sound).max()))).astype(np.float32)


@cache
def _read_file(path: Path) -> Mono:
    """Mono at RATE_HZ, brought to PEAK; at most 20 s, faded, so that one long file is no whole take."""
    data, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    sound = soxr.resample(data.mean(axis=1), rate_hz, RATE_HZ)[: 20 * RATE_HZ]
    if len(sound) == 20 * RATE_HZ:
        sound *= _fade_line(len(sound), 0.001, 0.2)
    return _to_peak(sound)
