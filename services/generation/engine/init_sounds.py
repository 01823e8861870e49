"""The sound that a request starts from: from a file's bytes to the shape of the model, block by block, so that memory is bounded.

A file of some kilobytes may hold minutes of silence in many channels. Its header is looked at first, and what is decoded is at once
brought to the model's rate and channels.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Callable

import numpy as np
import soundfile as sf
import soxr

from audiotune.audio.downmix import ChannelStatistics, choose_mix, choose_mono_weights
from audiotune.audio.sound import Frames, Sound
from audiotune.domain.generation import GenerationRequest
from audiotune.errors import NotInStoreError, SoundError
from audiotune.store.port import Store, compute_digest
from services.generation.engine.sound_records import read_sound_record
from services.generation.errors import InitAudioError, UnknownSoundError
from services.generation.settings import GenerationSettings

MOST_VALUES = 25_000_000  # frames x channels of a file: a minute of stereo at 192 kHz, or of eight channels at 48 kHz
_BLOCK_FRAMES = 1 << 15
_LOUDEST = 100.0  # 40 dB above full scale: what is louder is no sound, and its square soon no number
TakeMemory = Callable[[int], None]


def load_init(
    settings: GenerationSettings,
    request: GenerationRequest,
    store: Store,
    member: str,
    shape: tuple[int, int],
    take: TakeMemory = lambda size: None,
) -> tuple[Sound | None, str | None]:
    """The sound that a request starts from, uploaded or kept here, and the digest of its file.

    Args:
        shape: (rate in Hz, channels) that the sound gets.
        take: is told how many bytes will be needed before they are; may raise to refuse.

    Raises InitAudioError naming the field.
    """
    if request.init_sound:
        try:
            key = read_sound_record(store, request.init_sound, member).blob
            take(store.size(key))
            return _decode_init(settings, store.get(key), "init_sound", shape, take), request.init_sound
        except (UnknownSoundError, NotInStoreError):
            raise _init_error("init_sound", "no such sound, or not yours to hear") from None
    if request.init_audio:
        if len(request.init_audio) > settings.body_mb * 1e6:
            raise _init_error("init_audio", f"more than {settings.body_mb:g} MB of base64")
        try:
            data = base64.b64decode(request.init_audio, validate=True)
        except (binascii.Error, ValueError):
            raise _init_error("init_audio", "no base64") from None
        return _decode_init(settings, data, "init_audio", shape, take), compute_digest(data)
    return None, None


def _decode_init(settings: GenerationSettings, data: bytes, field: str, shape: tuple[int, int], take: TakeMemory) -> Sound:
    try:
        with sf.SoundFile(io.BytesIO(data)) as file:
            _check_header(settings, file, field)
            take(4 * shape[1] * math.ceil(file.frames * shape[0] / file.samplerate))
            sound = _read_blocks(file, shape)
    except (sf.LibsndfileError, RuntimeError, ValueError, TypeError, MemoryError, SoundError) as e:
        raise _init_error(field, f"no sound that can be read ({e})") from None
    if not sound.frames:
        raise _init_error(field, "empty")
    if np.abs(sound.data).max() > _LOUDEST:
        raise _init_error(field, "far beyond full scale")
    return sound


def _check_header(settings: GenerationSettings, file: sf.SoundFile, field: str) -> None:
    if file.channels > 8 or not 1000 <= file.samplerate <= 384_000:
        raise _init_error(field, f"{file.channels} channels at {file.samplerate} Hz; at most 8, at 1000 to 384000 Hz")
    if file.frames / file.samplerate > settings.init_s:
        raise _init_error(field, f"longer than {settings.init_s:.0f} s")
    if file.frames * file.channels > MOST_VALUES:
        values = f"{file.frames} frames of {file.channels} channels; at most {MOST_VALUES // file.channels} frames of them"
        raise _init_error(field, f"{values}: lower the rate, or mix channels down")


def _read_blocks(file: sf.SoundFile, shape: tuple[int, int]) -> Sound:
    """The frames that the header promises, at the shape's rate and channels: the same numbers as if the whole were mixed and resampled."""
    rate_hz, channels = shape
    weights = _choose_weights(file, channels)
    out = np.empty((channels, math.ceil(file.frames * rate_hz / file.samplerate) + 1), np.float32)
    resampler = soxr.ResampleStream(file.samplerate, rate_hz, channels, dtype="float32", quality="HQ")
    done, left = 0, file.frames
    while left > 0:
        block: Frames = file.read(min(left, _BLOCK_FRAMES), dtype="float32", always_2d=True)
        left = left - len(block) if len(block) else 0  # fewer frames than promised
        fitted = block if weights is None else block @ weights.T
        if rate_hz != file.samplerate:
            fitted = resampler.resample_chunk(np.ascontiguousarray(fitted), last=left <= 0)
        part = fitted[: out.shape[1] - done].T
        out[:, done : done + part.shape[1]] = part
        done += part.shape[1]
    return Sound(out[:, :done], rate_hz)


def _choose_weights(file: sf.SoundFile, channels: int) -> Frames | None:
    """[channels, channels of the file]: how the file's channels are mixed; None where nothing is. Reads the file once."""
    if file.channels == channels:
        return None
    if file.channels == 1:
        return np.ones((channels, 1), np.float32)
    statistics = ChannelStatistics(file.channels)
    for block in file.blocks(_BLOCK_FRAMES, frames=file.frames, dtype="float32", always_2d=True):
        statistics.add(block)
    file.seek(0)
    if channels == 2:
        return np.array(choose_mix((), statistics.covariance)[0], np.float32)
    return np.repeat(choose_mono_weights(statistics.covariance)[None], channels, axis=0)


def _init_error(field: str, why: str) -> InitAudioError:
    return InitAudioError(f"{field}: {why}", where=field, cure=why)
