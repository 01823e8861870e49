"""A copy of a sound file that every browser plays: FLAC of 16 bits, in stereo at most, written block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from audiotune.audio.decode import open_sound
from audiotune.audio.sound import RENDER_CHANNELS
from audiotune.errors import SoundError


def write_listening_copy(source: Path, target: Path) -> None:
    """Writes the copy; of more than two channels the mean. Raises SoundError: no sound, or the disk is full."""
    with open_sound(source) as sound:
        is_mixed = sound.channels > RENDER_CHANNELS
        channels = 1 if is_mixed else sound.channels
        try:
            with sf.SoundFile(target, "w", sound.sample_rate_hz, channels, "PCM_16", format="FLAC") as file:
                for block in sound.blocks:
                    frames = block.mean(axis=1, keepdims=True) if is_mixed else block
                    file.write(np.clip(frames, -1.0, 1.0))
        except (sf.LibsndfileError, OSError) as e:
            raise SoundError(f"the copy to listen to cannot be written: {e}", cure="free some space on the studio's disk") from e
