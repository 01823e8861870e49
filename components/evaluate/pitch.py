"""Is the pitch heard that the words ask for: a note with its octave ("C#4", "a drone on A2") or a frequency ("440 Hz", "1.2 kHz")."""

import re
from collections.abc import Sequence

import numpy as np

from audiotune.audio.distance import RATE_HZ
from audiotune.audio.sound import Sound
from components.evaluate.measured_sounds import MeasuredSound

_LOWEST_HZ, _HIGHEST_HZ = 30.0, 2200.0  # from below a bass's B0 to C7: higher, a step of one sample is too coarse
_FRAME = 4096  # samples at 22.05 kHz: more than five periods of the lowest pitch
_PERIODIC = 0.2  # YIN's threshold: rest of a frame that is not periodic, at most
_IN_TUNE_CENTS = 50.0
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NOTE = re.compile(r"(?<![\w#♯♭])([A-G])([#♯b♭]?)(-1|[0-9])(?![\w.])")
_FREQUENCY = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?(k?)Hz\b", re.IGNORECASE)


def read_asked_pitch_hz(text: str) -> float | None:
    """The one pitch that words ask for, in Hz (A4 is 440); None where they name none, several, or one that cannot be heard out."""
    named = [_compute_note_hz(*match.groups()) for match in _NOTE.finditer(text)]
    named += [float(match[1]) * (1000 if match[2] else 1) for match in _FREQUENCY.finditer(text)]
    return named[0] if len(named) == 1 and _LOWEST_HZ <= named[0] <= _HIGHEST_HZ else None


def measure_pitch_hz(sound: Sound) -> float | None:
    """The median pitch of the periodic frames; None where less than a quarter of the frames with sound are periodic.

    YIN (de Cheveigné and Kawahara 2002), steps 1 to 5, on frames of 186 ms.
    """
    data = sound.to_mono().resample(RATE_HZ).data[0].astype(np.float64)
    data = np.pad(data, (0, max(0, _FRAME - len(data))))
    frames = np.lib.stride_tricks.sliding_window_view(data, _FRAME)[:: _FRAME // 4]
    energy = (frames**2).mean(axis=1)
    loud = [frame for frame, power in zip(frames, energy) if power > 1e-3 * energy.max() > 0]
    found = [pitch for frame in loud if (pitch := _find_pitch_hz(frame)) is not None]
    return float(np.median(found)) if found and len(found) >= len(loud) / 4 else None


def measure_asked_pitches(before: Sequence[MeasuredSound], after: Sequence[MeasuredSound]) -> dict[str, float]:
    """Share of the sounds with a pitch in their caption that have this pitch, to 50 cents; empty where no caption asks for one."""
    asked = [(pitch, a, b) for a, b in zip(before, after) if (pitch := read_asked_pitch_hz(b.text)) is not None]
    if not asked:
        return {}
    return {
        "pitch_share_before": float(np.mean([_is_in_tune(one, pitch) for pitch, one, _ in asked])),
        "pitch_share_after": float(np.mean([_is_in_tune(one, pitch) for pitch, _, one in asked])),
        "pitches_asked": len(asked),
    }


def _is_in_tune(one: MeasuredSound, asked_hz: float) -> bool:
    heard = measure_pitch_hz(one.sound)
    return heard is not None and abs(1200 * np.log2(heard / asked_hz)) <= _IN_TUNE_CENTS


def _compute_note_hz(letter: str, accidental: str, octave: str) -> float:
    shift = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[accidental]
    return float(440.0 * 2 ** ((_SEMITONES[letter] + shift - 9) / 12 + int(octave) - 4))


def _find_pitch_hz(frame: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """None for a frame that is not periodic."""
    half = _FRAME // 2
    spectrum = np.fft.rfft(frame, 2 * _FRAME)
    start = np.fft.rfft(frame[:half], 2 * _FRAME)
    products = np.fft.irfft(spectrum * np.conj(start))[:half]
    squares = np.concatenate([[0.0], np.cumsum(frame**2)])
    difference = squares[half] + (squares[half : 2 * half] - squares[:half]) - 2 * products
    lags = np.arange(1, half)
    normal = np.concatenate([[1.0], difference[1:] * lags / np.maximum(np.cumsum(difference[1:]), 1e-12)])
    shortest, longest = int(RATE_HZ / _HIGHEST_HZ), int(RATE_HZ / _LOWEST_HZ)
    below = np.flatnonzero(normal[shortest:longest] < _PERIODIC)
    if not len(below):
        return None
    lag = shortest + int(below[0])
    while lag + 1 < longest and normal[lag + 1] < normal[lag]:
        lag += 1
    left, middle, right = normal[lag - 1 : lag + 2]
    bend = left - 2 * middle + right
    return float(RATE_HZ / (lag + (0.5 * (left - right) / bend if bend > 0 else 0.0)))
