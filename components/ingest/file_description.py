"""Decodes a file once, as a stream, and measures its levels, loudness, faults and fingerprint in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from audiotune.audio.decode import open_sound
from audiotune.audio.downmix import ChannelStatistics, Mix, choose_mix
from audiotune.audio.fingerprint import Fingerprinter, FingerprintWords
from audiotune.audio.loudness import LoudnessMeter
from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Frames, to_decibels
from audiotune.domain.recording import Description
from audiotune.errors import SoundError
from components.ingest.settings import Settings

_SILENT = 1e-4  # highest peak of a silent channel: -80 dBFS
_SAME = 1e-8  # highest energy of the difference of two equal channels, relative to their own energy


class FileDescription(BaseModel):
    """The format and the measurements of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    bit_depth: int | None
    sample_rate_hz: int
    channels: int
    frames: int
    description: Description
    ends_early: bool
    mix: Mix
    notes: tuple[str, ...]


def describe_file(
    path: Path, settings: Settings, progress: Callable[[float], None]
) -> tuple[FileDescription, str, FingerprintWords]:
    """Decodes a file to its end, once. Returns its description, the suffix of its format, and its fingerprint.

    Args:
        progress: called from time to time with the share that is done, in [0, 1].

    Raises:
        SoundError: damaged, cut short, no sound, or outside the settings' bounds.
    """
    with open_sound(path) as decoded:
        rate, channels = decoded.sample_rate_hz, decoded.channels
        _check_format(rate, channels, settings)
        most = round(settings.longest_h * 3600 * rate)
        too_long = SoundError(f"it is longer than {settings.longest_h:g} h", cure="cut it, or raise longest_h")
        if (decoded.promised_frames or 0) > most:
            raise too_long
        loudness, levels, fingerprinter = LoudnessMeter(rate, channels), LevelMeter(rate, channels), Fingerprinter(rate)
        statistics = ChannelStatistics(channels)
        meters = (levels, loudness, fingerprinter, *((statistics,) if channels > 2 else ()))
        for block in decoded.blocks:
            for meter in meters:
                meter.add(block)
            if levels.frames > most:
                raise too_long
            progress(levels.frames / max(levels.frames, decoded.promised_frames or 0))
        if levels.frames < settings.shortest_s * rate:
            frames = f"{levels.frames} frame{'s' if levels.frames > 1 else ''}"
            raise SoundError(f"it is shorter than {settings.shortest_s:g} s ({frames})", cure="record more of it")
        mix, words = choose_mix(decoded.speakers, statistics.covariance)
        described = FileDescription(
            format=decoded.format,
            bit_depth=decoded.bit_depth,
            sample_rate_hz=rate,
            channels=channels,
            frames=levels.frames,
            description=levels.to_description(loudness.lufs, loudness.true_peak_dbtp),
            ends_early=decoded.findings.ends_early,
            mix=mix,
            notes=(*decoded.findings.notes, *((words,) if words else ())),
        )
        return described, decoded.suffix, fingerprinter.finish()


def _check_format(rate: int, channels: int, settings: Settings) -> None:
    if rate > settings.highest_rate_hz:
        raise SoundError(
            f"its sample rate of {rate} Hz is above {settings.highest_rate_hz} Hz",
            cure="export it at 48 kHz, or raise highest_rate_hz",
        )
    if channels > settings.most_channels:
        raise SoundError(
            f"it has {channels} channels, {settings.most_channels} are the most",
            cure="export fewer channels, or raise most_channels",
        )


class LevelMeter:
    """Measures peaks, DC, clipping, dropouts and the relation of the channels, over a stream of blocks."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self.frames = 0
        self._peaks = np.zeros(channels, np.float32)
        self._sums = np.zeros(channels)
        self._pair = np.zeros(3)  # energy of the first channel, of the second, their product
        self._difference = np.zeros(1)
        # frames so far, frames in flat runs at the top, the last of these, length of the run of zeros, dropouts, loud before the zeros
        self._runs = np.array([0, 0, -1, 0, 0, 0], np.int64)
        self._flat = np.zeros(channels, np.int64)  # length of each channel's run of one value at full scale or above
        self._before = np.zeros(channels, np.float32)
        self._level = np.zeros(1)
        self._least, self._most = max(8, sample_rate_hz // 2000), sample_rate_hz // 2

    def add(self, frames: Frames) -> None:
        """Takes the next block, float32 [frames, channels]."""
        _measure_block(
            frames, self._peaks, self._sums, self._pair, self._difference, self._runs, self._flat, self._before, self._level,
            self._least, self._most,
        )  # fmt: skip
        self.frames += len(frames)

    def to_description(self, loudness_lufs: float | None, true_peak_dbtp: float | None) -> Description:
        peak = float(self._peaks.max())
        first, second, product = self._pair
        together = np.sqrt(first * second)
        silent = tuple(int(c) for c in np.flatnonzero(self._peaks < _SILENT))
        several = len(self._peaks) > 1 and peak > 0
        return Description(
            peak_dbfs=to_decibels(peak) if peak > 0 else None,
            true_peak_dbtp=true_peak_dbtp,
            loudness_lufs=loudness_lufs,
            dc_offset=tuple(round(float(s) / max(1, self.frames), 7) for s in self._sums),
            clipped_share=float(self._runs[1] / max(1, self.frames)),
            dropouts=int(self._runs[4]),
            silent_channels=silent,
            identical_channels=bool(several and self._difference[0] <= _SAME * first and not silent),
            polarity_inverted=bool(several and together > 0 and product < -0.9 * together),
        )


@compile_kernel
def _measure_block(frames, peaks, sums, pair, difference, runs, flat, before, level, least, most):  # type: ignore[no-untyped-def]
    """Updates the arrays of a `LevelMeter`, in one pass over the frames."""
    channels = frames.shape[1]
    was_top = flat.max() > 0
    for i in range(frames.shape[0]):
        high = np.float32(0.0)
        for c in range(channels):
            x = frames[i, c]
            peaks[c] = max(peaks[c], abs(x))
            sums[c] += x
            high = max(high, abs(x))
        if channels > 1:
            x, y = float(frames[i, 0]), float(frames[i, 1])
            pair[0] += x * x
            pair[1] += y * y
            pair[2] += x * y
            for c in range(1, channels):
                d = float(frames[i, c]) - x
                difference[0] += d * d
        if high >= 0.9995:
            # Clipped is what stays at one value: sound above full scale, as 32-bit float holds it, is not.
            longest = 0
            for c in range(channels):
                x = frames[i, c]
                flat[c] = 0 if abs(x) < 0.9995 else flat[c] + 1 if x == before[c] else 1
                before[c] = x
                longest = max(longest, flat[c])
            if longest >= 3:
                now = runs[0] + i
                runs[1] += now - max(runs[2], now - 3)
                runs[2] = now
            was_top = True
        elif was_top:
            flat[:] = 0
            was_top = False
        if high == 0.0:
            if runs[3] == 0:
                runs[5] = 1 if level[0] > 0.003 else 0
            runs[3] += 1
        else:
            if runs[5] == 1 and least <= runs[3] <= most and high > 0.0003:
                runs[4] += 1
            runs[3], runs[5] = 0, 0
            level[0] = max(float(high), level[0] * 0.98)
    runs[0] += frames.shape[0]
