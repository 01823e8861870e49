"""Segment: a part of a recording, as a reference with gain and fades, and the sound rendered of it."""

from __future__ import annotations

import hashlib
import json

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest


class Segment(FrozenModel):
    """A row of the segments manifest.

    Attributes:
        id: hash of recording, bounds, gain and fades (see `segment_id`).
        recording: id of the recording it is part of.
        start_frame, end_frame: half-open, in frames of the recording's own rate.
        blob: store key of the rendered FLAC (44.1 kHz stereo).
        frames: length of the rendered sound in frames at 44.1 kHz.
        loudness_lufs: of the rendered sound; null below the gate.
        speech: speech was detected in it; it stays unless someone drops it.
    """

    id: Digest
    recording: Digest
    start_frame: int = Field(ge=0)
    end_frame: int = Field(gt=0)
    sample_rate_hz: int = Field(gt=0)
    gain_db: float = 0.0
    fade_in_s: float = Field(default=0.0, ge=0)
    fade_out_s: float = Field(default=0.0, ge=0)
    blob: str
    frames: int = Field(gt=0)
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    speech: bool = False

    @property
    def start_s(self) -> float:
        return self.start_frame / self.sample_rate_hz

    @property
    def duration_s(self) -> float:
        return (self.end_frame - self.start_frame) / self.sample_rate_hz


def segment_id(
    recording: Digest, start_frame: int, end_frame: int, gain_db: float, fade_in_s: float, fade_out_s: float
) -> Digest:
    """The id of a segment: the same cut of the same recording has the same id on every machine."""
    cut = [recording, start_frame, end_frame, round(gain_db, 3), round(fade_in_s, 6), round(fade_out_s, 6)]
    return hashlib.sha256(json.dumps(cut).encode()).hexdigest()
