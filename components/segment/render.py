"""Rendering: each cut once to 44.1 kHz stereo FLAC, with gain and fades, straight into the store.

The recording is read a second time, in blocks; no more than one segment is in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
import soundfile as sf

from audiotune.loudness import integrated_lufs
from audiotune.recording import Digest
from audiotune.segment import Segment, segment_id
from audiotune.sound import RENDER_CHANNELS, RENDER_RATE_HZ, Frames, Sound
from audiotune.store import Store
from components.segment.cut import Cut
from components.segment.settings import Settings

_FLAC_LEVEL = 0.0  # half the time of the default level for a tenth more bytes


def parts(blocks: Iterable[Frames], cuts: Iterable[Cut]) -> Iterator[tuple[Cut, Frames]]:
    """The frames of each cut, float32 [frames, channels]. Cuts are in order and do not overlap; reads no further than the last."""
    stream = iter(blocks)
    block, start = np.zeros((0, 1), np.float32), 0
    for cut in cuts:
        held = []
        while True:
            low, high = max(cut.start_frame - start, 0), min(cut.end_frame - start, len(block))
            if low < high:
                held.append(block[low:high].copy())
            if start + len(block) >= cut.end_frame:
                break
            start += len(block)
            following = next(stream, None)
            if following is None:
                break
            block = following
        if held:
            yield cut, np.concatenate(held)


def render(
    recording: Digest, cut: Cut, frames: Frames, sample_rate_hz: int, talk: bool, store: Store, settings: Settings
) -> Segment:
    """Renders one cut and returns its row.

    Args:
        frames: the part of the recording, float32 [frames, channels] at `sample_rate_hz`.
    """
    sound = Sound(frames.T, sample_rate_hz).to_channels(RENDER_CHANNELS).resampled(RENDER_RATE_HZ)
    loudness = integrated_lufs(sound)
    gain_db = gain_for(loudness, sound.peak_dbfs, settings)
    fade_in_s = 0.0 if cut.start_frame == 0 else min(settings.fade_in_s, sound.duration_s / 4)
    fade_out_s = min(settings.fade_out_s, sound.duration_s / 4)
    sound = sound.amplified(gain_db).faded(fade_in_s, fade_out_s)
    return Segment(
        id=segment_id(recording, cut.start_frame, cut.end_frame, gain_db, fade_in_s, fade_out_s),
        recording=recording,
        start_frame=cut.start_frame,
        end_frame=cut.end_frame,
        sample_rate_hz=sample_rate_hz,
        gain_db=gain_db,
        fade_in_s=fade_in_s,
        fade_out_s=fade_out_s,
        blob=store.put_blob(_flac(sound), ".flac"),
        frames=sound.frames,
        loudness_lufs=None if loudness is None else round(loudness + gain_db, 2),
        peak_dbfs=round(sound.peak_dbfs, 2) if np.isfinite(sound.peak_dbfs) else None,
        speech=talk,
    )


def gain_for(loudness_lufs: float | None, peak_dbfs: float, settings: Settings) -> float:
    """The gain in dB that brings a sound to the target, no more than `max_gain_db`, no peak above `peak_dbfs`."""
    if settings.keep_levels or not np.isfinite(peak_dbfs):
        return 0.0
    wanted = settings.max_gain_db if loudness_lufs is None else settings.loudness_lufs - loudness_lufs
    return round(min(wanted, settings.max_gain_db, settings.peak_dbfs - peak_dbfs), 3)


def _flac(sound: Sound) -> bytes:
    """16 bit: after the gain every segment uses the whole scale."""
    whole = np.rint(sound.data.T * 32767).clip(-32768, 32767).astype(np.int16)
    out = io.BytesIO()
    sf.write(out, whole, sound.sample_rate_hz, format="FLAC", subtype="PCM_16", compression_level=_FLAC_LEVEL)
    return out.getvalue()
