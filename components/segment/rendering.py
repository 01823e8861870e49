"""Renders each segment to the store, as 44.1 kHz stereo FLAC with gain and fades.

The recording is read a second time, in blocks; at most one segment is in memory.
"""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from audiotune.audio.decode import DecodedFile, measure_covariance, open_sound
from audiotune.audio.downmix import Mix, apply_mix, choose_mix
from audiotune.audio.loudness import LoudnessMeter
from audiotune.audio.sound import RENDER_CHANNELS, RENDER_RATE_HZ, Frames, to_decibels
from audiotune.domain.recording import Digest
from audiotune.domain.segment import Segment, segment_id
from audiotune.store import Store
from components.segment.segment_bounds import SegmentBounds
from components.segment.settings import Settings

_FLAC_LEVEL = 0.0  # half the time of the default level for a tenth more bytes


def measure_mix(path: Path) -> Mix:
    """How a file of more than two channels is mixed; for rows that do not say it, as those of other programs."""
    with open_sound(path) as decoded:
        return choose_mix(decoded.speakers, measure_covariance(path))[0]


def mix_blocks(decoded: DecodedFile, mix: Mix) -> Iterator[Frames]:
    """The blocks as they are heard and rendered: one channel, or two. So what is found is also in what is rendered."""
    return (apply_mix(block, mix) for block in decoded.blocks)


def extract_frames(blocks: Iterable[Frames], cuts: Iterable[SegmentBounds]) -> Iterator[tuple[SegmentBounds, Frames]]:
    """The frames of each cut, float32 [frames, channels]. Cuts are in order and do not overlap; stops reading after the last."""
    stream = iter(blocks)
    block, start = np.zeros((0, 1), np.float32), 0
    for cut in cuts:
        parts = []
        while True:
            low, high = max(cut.start_frame - start, 0), min(cut.end_frame - start, len(block))
            if low < high:
                parts.append(block[low:high].copy())
            if start + len(block) >= cut.end_frame:
                break
            start += len(block)
            following = next(stream, None)
            if following is None:
                break
            block = following
        if parts:
            yield cut, np.concatenate(parts)


def render_segment(
    recording: Digest,
    cut: SegmentBounds,
    frames: Frames,
    sample_rate_hz: int,
    talk: bool,
    store: Store,
    settings: Settings,
    loudest_dbfs: float = 0.0,
) -> Segment:
    """Renders one cut and returns its row.

    Args:
        frames: the part of the recording, float32 [frames, channels] at `sample_rate_hz`.
        loudest_dbfs: highest peak of the whole recording.
    """
    stereo = _convert_to_stereo(frames, sample_rate_hz)
    duration_s = len(stereo) / RENDER_RATE_HZ
    loudness = _measure_loudness(stereo)
    gain_db = choose_gain(loudness, to_decibels(float(max(stereo.max(), -stereo.min()))), settings, loudest_dbfs)
    fade_in_s = 0.0 if cut.start_frame == 0 else min(settings.fade_in_s, duration_s / 4)
    fade_out_s = min(settings.fade_out_s, duration_s / 4)
    stereo *= np.float32(10 ** (gain_db / 20))
    _apply_fade(stereo, fade_in_s)
    _apply_fade(stereo[::-1], fade_out_s)
    peak_dbfs = to_decibels(float(max(stereo.max(), -stereo.min())))
    return Segment(
        id=segment_id(recording, cut.start_frame, cut.end_frame, gain_db, fade_in_s, fade_out_s),
        recording=recording,
        start_frame=cut.start_frame,
        end_frame=cut.end_frame,
        sample_rate_hz=sample_rate_hz,
        gain_db=gain_db,
        fade_in_s=fade_in_s,
        fade_out_s=fade_out_s,
        blob=store.put_blob(_encode_flac(stereo), ".flac"),
        frames=len(stereo),
        loudness_lufs=None if loudness is None else round(loudness + gain_db, 2),
        peak_dbfs=round(peak_dbfs, 2) if np.isfinite(peak_dbfs) else None,
        speech=talk,
    )


def choose_gain(loudness_lufs: float | None, peak_dbfs: float, settings: Settings, loudest_dbfs: float = 0.0) -> float:
    """The gain in dB to the target loudness, limited by `max_gain_db` and by a peak at `peak_dbfs`.

    Levels that are kept stay as they are up to full scale. A recording that goes beyond (32-bit float) is turned down as a whole: a
    FLAC file cannot hold it, and its segments keep their relation.
    """
    if not np.isfinite(peak_dbfs):
        return 0.0
    if settings.keep_levels:
        return math.floor(-1000 * max(0.0, peak_dbfs, loudest_dbfs)) / 1000
    wanted = settings.max_gain_db if loudness_lufs is None else settings.loudness_lufs - loudness_lufs
    return round(min(wanted, settings.max_gain_db, settings.peak_dbfs - peak_dbfs), 3)


def _convert_to_stereo(frames: Frames, sample_rate_hz: int) -> Frames:
    """[frames, 1 or 2 channels] at any rate -> float32 [frames, 2] at 44.1 kHz, a copy."""
    both = np.repeat(frames, RENDER_CHANNELS, axis=1) if frames.shape[1] == 1 else frames
    if sample_rate_hz == RENDER_RATE_HZ:
        return np.array(both, dtype=np.float32, order="C")
    resampled = soxr.resample(np.ascontiguousarray(both, dtype=np.float32), sample_rate_hz, RENDER_RATE_HZ, quality="HQ")
    return np.ascontiguousarray(resampled, dtype=np.float32)


def _measure_loudness(stereo: Frames) -> float | None:
    meter = LoudnessMeter(RENDER_RATE_HZ, RENDER_CHANNELS, true_peak=False)
    meter.add(stereo)
    return meter.lufs


def _apply_fade(stereo: Frames, fade_s: float) -> None:
    """Applies a raised cosine to the beginning, in place."""
    length = min(len(stereo), round(fade_s * RENDER_RATE_HZ))
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(1, length))
    stereo[:length] *= rise.astype(np.float32)[:, None]


def _encode_flac(stereo: Frames) -> bytes:
    """16-bit FLAC, enough after the gain. Changes `stereo` in place."""
    stereo *= 32767
    np.rint(stereo, out=stereo)
    whole = np.clip(stereo, -32768, 32767, out=stereo).astype(np.int16)
    out = io.BytesIO()
    sf.write(out, whole, RENDER_RATE_HZ, format="FLAC", subtype="PCM_16", compression_level=_FLAC_LEVEL)
    return out.getvalue()
