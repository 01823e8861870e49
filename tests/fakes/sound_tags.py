"""Reads the tags that the product writes into sound files, by libsndfile."""

from __future__ import annotations

import io

import soundfile as sf


def read_tags(data: bytes) -> dict[str, str]:
    """The tags inside a file."""
    with sf.SoundFile(io.BytesIO(data)) as file:
        return {name: value for name, value in file.copy_metadata().items() if value}
