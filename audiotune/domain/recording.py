"""Recording: one uploaded file of a jam, unchanged, identified by the SHA-256 of its bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audiotune.domain.file_name_words import words_from_file_name as words_from_file_name
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.label_tracks import MOST_LABELS, TimeLabel

Digest = str  # 64 hexadecimal digits of SHA-256
MOST_CONTRIBUTORS = 256  # heard in one recording: every gate asks each of them


class Description(FrozenModel):
    """Measurements of one full decode of a recording. Levels are null where digital silence makes them -inf.

    `true_peak_dbtp` and `loudness_lufs` follow ITU-R BS.1770-4 / EBU R128.
    """

    peak_dbfs: float | None
    true_peak_dbtp: float | None
    loudness_lufs: float | None
    dc_offset: tuple[float, ...] = Field(description="mean of each channel, in full scale")
    clipped_share: float = Field(ge=0, le=1, description="share of frames inside runs at full scale")
    dropouts: int = Field(ge=0, description="runs of digital zero inside sound")
    silent_channels: tuple[int, ...] = ()
    identical_channels: bool = False
    polarity_inverted: bool = False


class Likeness(FrozenModel):
    """This recording (or a part of it) sounds the same as (a part of) another one."""

    recording: Digest
    kind: Literal["same_bytes", "same_sound", "overlap"]
    bit_error_rate: float = Field(ge=0, le=1)
    start_s: float = Field(description="where the common part starts in this recording")
    other_start_s: float
    duration_s: float


class Recording(FrozenModel):
    """A row of the recordings manifest.

    Attributes:
        id: SHA-256 of the file's bytes.
        blob: store key of the unchanged bytes.
        name: file name or path inside its source, for people; never used as a path.
        words: text of a caption sidecar about the whole recording, if there is one.
        labels: of a label track beside it, in order of time.
    """

    id: Digest
    blob: str
    name: str
    source: str
    contributors: tuple[str, ...] = Field(min_length=1, max_length=MOST_CONTRIBUTORS)
    licence: str
    session: str = ""
    instrument: str = ""
    words: str = ""
    labels: tuple[TimeLabel, ...] = Field(default=(), max_length=MOST_LABELS)
    format: str = Field(description="container and encoding, as in 'WAV PCM_24'")
    bit_depth: int | None = None
    sample_rate_hz: int = Field(gt=0)
    channels: int = Field(gt=0)
    frames: int = Field(gt=0)
    description: Description
    ends_early: bool = Field(default=False, description="the file breaks off before its end; frames counts what is there")
    mix: tuple[tuple[float, ...], ...] = Field(
        default=(), description="of more than two channels: what left and right take of each"
    )
    notes: tuple[str, ...] = Field(default=(), description="what else a listener should know of the file")
    fingerprint: str = Field(description="store key of the fingerprint")
    likenesses: tuple[Likeness, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz
