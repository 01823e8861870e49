"""Reads the frames of WAV files with 16 or 24 bit, several times faster than libsndfile and bit by bit the same.

`audiotune.audio.chunks` finds the sound; this module only converts its bytes. Long recordings are read three times, and that took
most of the time (benchmarks/ingest.py).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Frames
from audiotune.errors import SoundError

BYTES_BY_SUBTYPE = {"PCM_16": 2, "PCM_24": 3}


def read_pcm_blocks(path: Path, offset: int, frames: int, channels: int, width: int, block_frames: int) -> Iterator[Frames]:
    """Yields float32 [at most block_frames, channels] in [-1, 1). The next block overwrites the one before it in memory.

    Args:
        offset: of the first frame in the file, in bytes.
        width: bytes of one number, 2 or 3, little endian.
    """
    raw = np.empty(block_frames * channels * width, np.uint8)
    out = np.empty((block_frames, channels), np.float32)
    with path.open("rb") as file:
        file.seek(offset)
        while frames > 0:
            wanted = min(frames, block_frames) * channels * width
            try:
                read = file.readinto(raw[:wanted].data)
            except OSError as e:
                raise SoundError(f"the sound breaks off: {e.strerror}", where=path.name, cure="copy it again") from e
            numbers = read // (channels * width) * channels
            if not numbers:
                return
            if width == 2:
                np.multiply(raw[: numbers * 2].view("<i2"), np.float32(2.0**-15), out=out.reshape(-1)[:numbers])
            else:
                _convert_24_bit(raw, out.reshape(-1)[:numbers])
            yield out[: numbers // channels]
            frames -= numbers // channels


@compile_kernel
def _convert_24_bit(raw, out):  # type: ignore[no-untyped-def]
    """[3 n] bytes -> [n] numbers; two's complement."""
    for i in range(out.size):
        number = int(raw[3 * i]) | int(raw[3 * i + 1]) << 8 | int(raw[3 * i + 2]) << 16
        if number >= 1 << 23:
            number -= 1 << 24
        out[i] = np.float32(number) * np.float32(2.0**-23)
