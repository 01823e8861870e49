"""Fades for made sounds."""

from __future__ import annotations

import numpy as np

from audiotune.audio.sound import Sound


def apply_fades(sound: Sound, fade_in_s: float, fade_out_s: float) -> Sound:
    """Raised-cosine fades at both ends; fades longer than the sound are shortened to it."""
    data = sound.data.copy()
    for ends, fade_s in ((data, fade_in_s), (data[:, ::-1], fade_out_s)):
        frames = min(sound.frames, round(fade_s * sound.sample_rate_hz))
        ends[:, :frames] *= (0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / max(1, frames))).astype(np.float32)
    return Sound(data, sound.sample_rate_hz)
