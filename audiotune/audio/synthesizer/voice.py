"""The modules (oscillators, envelopes, filter) and `play_patch`, which connects them as a patch says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Sound
from audiotune.audio.synthesizer.patch import Patch

Line = NDArray[np.float64]  # one value a frame

PEAK = 0.7  # of a played sound, about -3 dBFS


def play_patch(patch: Patch, duration_s: float, sample_rate_hz: int = 44_100, seed: int = 0) -> Sound:
    """Plays a patch: mono, peak 0.7, first and last frame at rest.

    The same patch, duration, rate and seed give the same sound. The seed decides phases and noise only.
    """
    rng = np.random.default_rng(seed)
    frames = max(1, round(duration_s * sample_rate_hz))
    time_s = np.arange(frames) / sample_rate_hz
    gate = _compute_envelope(patch, time_s)
    frequency_hz = _compute_frequency(patch, time_s)
    tone = _run_oscillators(patch, frequency_hz, sample_rate_hz, rng)
    if patch.breath:
        tone = tone + patch.breath * rng.standard_normal(frames)
    if patch.drive:
        tone = np.tanh(tone * (1 + 6 * patch.drive))
    tone = _filter_tone(patch, tone, gate, sample_rate_hz) * gate
    if patch.tremolo:
        tone = tone * (1 - patch.tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * patch.rate_hz * time_s)))
    peak = float(np.abs(tone).max())
    return Sound((tone * (PEAK / peak if peak else 0.0)).astype(np.float32)[None], sample_rate_hz)


def _compute_envelope(patch: Patch, time_s: Line) -> Line:
    """Loudness over time in [0, 1], at rest at both ends."""
    end_s = float(time_s[-1]) + 1e-9
    release_s = min(0.06, end_s / 4)
    if patch.envelope == "pluck":
        gate = np.exp(-time_s / (0.1 + 0.07 * end_s))
    elif patch.envelope == "swell":
        gate = np.minimum(1.0, time_s / (0.75 * end_s)) ** 2
        release_s = min(0.3, end_s / 5)
    elif patch.envelope == "pulse":
        gate = _repeat_gate(time_s * patch.rate_hz, 0.5)
    elif patch.envelope == "sequence":
        gate = np.exp(-((time_s * patch.rate_hz) % 1.0) * 2.5)
        gate *= np.minimum(1.0, ((time_s * patch.rate_hz) % 1.0) / (0.006 * patch.rate_hz))
    else:
        gate = np.minimum(1.0, time_s / min(0.15, end_s / 4))
        release_s = min(0.25, end_s / 4)
    edges: Line = np.minimum(1.0, time_s / 0.004) * np.clip((end_s - time_s) / release_s, 0, 1)
    return gate * edges


def _repeat_gate(cycles: Line, duty: float) -> Line:
    """A gate that is open for `duty` of each cycle, with edges soft enough not to click."""
    place = cycles % 1.0
    return np.clip(np.minimum(place, duty - place) / 0.04, 0.0, 1.0)


def _compute_frequency(patch: Patch, time_s: Line) -> Line:
    """Fundamental in Hz at each frame: sequence, glide and vibrato."""
    semitones = np.zeros_like(time_s)
    if patch.steps:
        note = (time_s * patch.rate_hz).astype(int)
        semitones += np.asarray(patch.steps)[note % len(patch.steps)]
    if patch.glide:
        semitones += patch.glide * time_s / (time_s[-1] + 1e-9)
    if patch.vibrato:
        semitones += patch.vibrato / 100 * np.sin(2 * np.pi * min(patch.rate_hz, 6.0) * time_s)
    line: Line = patch.frequency_hz * 2 ** (semitones / 12)
    return line


def _run_oscillators(patch: Patch, frequency_hz: Line, sample_rate_hz: int, rng: np.random.Generator) -> Line:
    phase = np.cumsum(frequency_hz / sample_rate_hz) + rng.random()
    step = frequency_hz / sample_rate_hz
    tone = _compute_wave(patch, phase, step, rng)
    if patch.detune:
        ratio = 2 ** (patch.detune / 1200)
        tone = 0.6 * tone + 0.4 * _compute_wave(patch, phase * ratio + rng.random(), step * ratio, rng)
    return tone


def _compute_wave(patch: Patch, phase: Line, step: Line, rng: np.random.Generator) -> Line:
    """One oscillator in about [-1, 1]. `phase` in cycles, `step` in cycles a frame."""
    turn = 2 * np.pi * phase
    if patch.timbre == "triangle":
        partials = [np.sin(n * turn) * (-1) ** (n // 2) / n**2 * _limit_to_nyquist(n * step) for n in (1, 3, 5, 7)]
        return np.asarray(np.sum(partials, axis=0))
    if patch.timbre in ("saw", "resonant"):
        return _compute_saw(phase, step)
    if patch.timbre == "square":
        return _compute_saw(phase, step) - _compute_saw(phase + 0.5, step)
    if patch.timbre == "fm":
        depth = patch.index * _limit_to_nyquist(step * patch.ratio * (patch.index + 1))
        return np.asarray(np.sin(turn + depth * np.sin(patch.ratio * turn)))
    if patch.timbre == "ring":
        return np.asarray(np.sin(turn) * np.sin(turn * (patch.ratio * 0.73 + 0.31)))
    if patch.timbre == "noise":
        return rng.standard_normal(len(phase)) * 0.5
    if patch.timbre == "hum":
        return np.asarray(np.sin(turn) + 0.5 * np.sin(2 * turn) + 0.35 * np.sin(3 * turn) + 0.1 * np.sin(5 * turn)) / 1.6
    return np.asarray(np.sin(turn))


def _limit_to_nyquist(step: Line) -> Line:
    """1 where a partial of `step` cycles a frame can be played, 0 above the Nyquist frequency, with a short slope."""
    return np.clip((0.5 - step) / 0.05, 0.0, 1.0)


def _compute_saw(phase: Line, step: Line) -> Line:
    """Sawtooth with its jump rounded by a polynomial (PolyBLEP, Välimäki and Huovilainen 2007): little aliasing."""
    place = phase % 1.0
    saw = 2 * place - 1
    after, before = place / step, (place - 1) / step
    saw -= np.where(place < step, 2 * after - after**2 - 1, 0.0)
    saw -= np.where(place > 1 - step, before**2 + 2 * before + 1, 0.0)
    return np.asarray(saw)


def _filter_tone(patch: Patch, tone: Line, gate: Line, sample_rate_hz: int) -> Line:
    """The low-pass (for noise a band-pass around the patch's frequency), its cutoff opened by the envelope."""
    nyquist_hz = 0.45 * sample_rate_hz
    if patch.timbre == "noise":
        width = 0.35 + 1.2 * patch.brightness  # a bright noise is wide
        cutoff = np.full(len(tone), min(patch.frequency_hz * 2.2, nyquist_hz))
        return np.asarray(_run_state_variable_filter(tone, cutoff, width, 1, sample_rate_hz))
    octaves = 0.7 + 5.3 * patch.brightness + (1.5 if patch.timbre == "resonant" else 0.0) * (gate - 0.5)
    cutoff = np.minimum(patch.frequency_hz * 2**octaves, nyquist_hz)
    damping = 2 * (1 - patch.resonance)
    return np.asarray(_run_state_variable_filter(tone, cutoff, max(0.12, damping), 0, sample_rate_hz))


@compile_kernel
def _run_state_variable_filter(tone: Any, cutoff_hz: Any, damping: float, band: int, sample_rate_hz: int) -> Any:
    """Trapezoidal state-variable filter (Simper 2013), 12 dB an octave; `band` 0 is low-pass, 1 band-pass."""
    out = np.empty_like(tone)
    low, mid = 0.0, 0.0
    for i in range(len(tone)):
        g = np.tan(np.pi * cutoff_hz[i] / sample_rate_hz)
        a1 = 1.0 / (1.0 + g * (g + damping))
        v3 = tone[i] - low
        v1 = a1 * mid + g * a1 * v3
        v2 = low + g * a1 * mid + g * g * a1 * v3
        mid, low = 2.0 * v1 - mid, 2.0 * v2 - low
        out[i] = v1 * damping if band == 1 else v2
    return out
