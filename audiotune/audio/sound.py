"""Sound: float32 frames with their rate. Reading, writing, resampling, channels.

Loudness is in `audiotune.audio.loudness`, the streaming decode of further formats in `audiotune.audio.decode`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from audiotune.audio.downmix import ChannelStatistics, apply_mix, choose_mix, mix_to_mono
from audiotune.errors import SoundError
from audiotune.store.atomic_files import replace_atomically

Frames = NDArray[np.float32]  # [channels, frames] unless a docstring says otherwise

RENDER_RATE_HZ = 44_100  # what segments are rendered to, and what listeners get
RENDER_CHANNELS = 2


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound in memory.

    Attributes:
        data: float32 [channels, frames], nominally in [-1, 1]; finite.
        sample_rate_hz: frames a second, > 0.

    Raises SoundError: wrong shape, no channel, rate <= 0, NaN or infinite values.
    """

    data: Frames
    sample_rate_hz: int

    def __post_init__(self) -> None:
        data = np.asarray(self.data, dtype=np.float32)
        if data.ndim == 1:
            data = data[None, :]
        if data.ndim != 2 or data.shape[0] == 0:
            raise SoundError(f"a sound has the shape [channels, frames], this has {list(data.shape)}")
        if self.sample_rate_hz <= 0:
            raise SoundError(f"a sample rate of {self.sample_rate_hz} Hz is not one", cure="give a rate above 0")
        if not np.isfinite(data).all():
            raise SoundError("the sound holds NaN or infinite values", cure="export it again from the program that made it")
        object.__setattr__(self, "data", np.ascontiguousarray(data))

    @property
    def channels(self) -> int:
        return int(self.data.shape[0])

    @property
    def frames(self) -> int:
        return int(self.data.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz

    @property
    def peak_dbfs(self) -> float:
        """The highest absolute sample in dBFS; -inf for digital silence or no frames."""
        return to_decibels(float(np.abs(self.data).max())) if self.frames else -np.inf

    def to_mono(self) -> Sound:
        """The mean of all channels as one channel; channels that would cancel each other are turned round before."""
        return self if self.channels == 1 else Sound(mix_to_mono(self.data.T).T, self.sample_rate_hz)

    def to_channels(self, channels: int) -> Sound:
        """Stereo of more channels is their mix by energy; otherwise all channels are copies of the mono mix."""
        if channels == self.channels:
            return self
        if channels == 2 and self.channels > 2:
            statistics = ChannelStatistics(self.channels)
            statistics.add(self.data.T)
            mix, _ = choose_mix((), statistics.covariance)
            return Sound(apply_mix(self.data.T, mix).T, self.sample_rate_hz)
        return Sound(np.repeat(self.to_mono().data, channels, axis=0), self.sample_rate_hz)

    def resample(self, sample_rate_hz: int) -> Sound:
        """The same sound at another rate (soxr, high quality)."""
        if sample_rate_hz == self.sample_rate_hz:
            return self
        data = soxr.resample(self.data.T, self.sample_rate_hz, sample_rate_hz, quality="HQ")
        return Sound(np.asarray(data, dtype=np.float32).reshape(-1, self.channels).T, sample_rate_hz)

    def apply_gain(self, gain_db: float) -> Sound:
        return Sound(self.data * np.float32(10 ** (gain_db / 20)), self.sample_rate_hz)

    def cut(self, start_frame: int, end_frame: int) -> Sound:
        return Sound(self.data[:, max(0, start_frame) : max(0, end_frame)], self.sample_rate_hz)

    def write(self, path: Path, subtype: str | None = None) -> Path:
        """Writes to a temporary name beside `path`, then renames. Format by suffix (.wav, .flac, .ogg, .mp3).

        The format's default subtype is 16 bit; pass `PCM_24` or `FLOAT` for more.
        """
        try:
            with replace_atomically(path) as part:
                sf.write(part, self.data.T, self.sample_rate_hz, subtype=subtype)
        except (OSError, RuntimeError, ValueError, TypeError) as e:  # TypeError: a suffix soundfile does not know
            raise SoundError(f"cannot write the sound: {e}", where=str(path), cure="check the disk and the suffix") from e
        return path

    def to_bytes(self, format: str = "WAV", subtype: str | None = None) -> bytes:
        """The encoded file as bytes (`format` as soundfile names them: WAV, FLAC, OGG, MP3)."""
        out = io.BytesIO()
        sf.write(out, self.data.T, self.sample_rate_hz, format=format, subtype=subtype)
        return out.getvalue()


def read_sound(path: Path | str | io.BytesIO, start_frame: int = 0, end_frame: int | None = None) -> Sound:
    """Reads a file that soundfile knows, or a part of it, at its own rate. Raises SoundError: no sound file, cut, or with NaN."""
    where = str(path) if not isinstance(path, io.BytesIO) else "bytes"
    try:
        data, rate = sf.read(path, start=start_frame, stop=end_frame, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, RuntimeError, OSError, ValueError) as e:
        raise SoundError(
            f"cannot read the sound: {e}", where=where, cure="open it in an audio editor and export it as WAV"
        ) from e
    return Sound(data.T, int(rate))


def to_decibels(amplitude: float) -> float:
    """20 log10 of an amplitude; -inf for 0."""
    return float(20 * np.log10(amplitude)) if amplitude > 0 else -np.inf
