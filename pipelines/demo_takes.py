"""The takes that a demo begins with: one evening of the simulated synthesizer, named the way musicians name takes.

The group has its own sound: detuned, driven, breathy, and played through one amplifier. The base model was not trained on it, so
metrics can distinguish a model that learned it from one that did not.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from audiotune.audio.sound import Frames, Sound
from audiotune.audio.synthesizer import REGISTERS, Patch, make_random_patch, play_patch

SAMPLE_RATE_HZ = 48_000
TIMBRES = ("saw", "fm", "square")
ENVELOPES = ("drone", "pluck", "pulse", "swell")
SOUNDS_A_TAKE = 4
_SEED = 2500


def make_takes(folder: Path) -> Path:
    """Writes one take for each register, envelope and timbre (36 files, about 8 minutes); existing files stay."""
    rng = np.random.default_rng(_SEED)
    for register in REGISTERS:
        for envelope in ENVELOPES:
            for timbre in TIMBRES:
                patch = apply_group_sound(make_random_patch(rng, register=register, envelope=envelope, timbre=timbre))
                take = render_take(patch, rng)  # also when the file exists: the random numbers of the next take depend on it
                path = folder / f"{patch.make_caption().replace(' ', '_')}_1.wav"
                if not path.exists():
                    take.write(path, "PCM_24")
    return folder


def apply_group_sound(patch: Patch) -> Patch:
    """A patch as this group plays it."""
    ratio = 1.41 if patch.timbre == "fm" else patch.ratio
    return replace(patch, drive=0.7, detune=16.0, breath=0.2, vibrato=0.0, glide=0.0, ratio=ratio, index=4.0)


def render_take(patch: Patch, rng: np.random.Generator, sounds: int = SOUNDS_A_TAKE) -> Sound:
    """A few sounds of one patch in different pitches, with background noise and pauses."""
    parts: list[Frames] = []
    for _ in range(sounds):
        moved = patch.move_to_register(patch.register, rng)
        sound = play_patch(moved, float(rng.uniform(1.0, 2.4)), SAMPLE_RATE_HZ, int(rng.integers(2**31)))
        parts += [_make_pause(rng), apply_amplifier(sound.apply_gain(float(rng.uniform(-9, -3))).data[0])]
    take = np.concatenate([*parts, _make_pause(rng)])
    phase = 2 * np.pi * 50 * np.arange(len(take)) / SAMPLE_RATE_HZ
    noise = 0.0008 * np.sin(phase) + 0.0004 * rng.standard_normal(len(take)) + 0.001
    return Sound(np.clip(take + noise, -1, 1).astype(np.float32)[None], SAMPLE_RATE_HZ)


def apply_amplifier(played: Frames) -> Frames:
    """A guitar cabinet: 8 dB more around 350 Hz, 12 dB less for each octave above 1.5 kHz, without phase shift."""
    hz = np.fft.rfftfreq(len(played), 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.maximum(hz, 1.0) / 350.0)
    gain_db = 8.0 * np.exp(-0.5 * (octaves / 0.7) ** 2) - 12.0 * np.log2(np.maximum(hz, 1500.0) / 1500.0)
    filtered = np.fft.irfft(np.fft.rfft(played) * 10.0 ** (np.maximum(gain_db, -30.0) / 20.0), len(played))
    return (filtered * min(1.0, 0.9 / max(float(np.abs(filtered).max()), 1e-9))).astype(np.float32)


def _make_pause(rng: np.random.Generator) -> Frames:
    return np.zeros(round(float(rng.uniform(0.7, 1.4)) * SAMPLE_RATE_HZ), np.float32)
