"""The sound that a request starts from: from a file's bytes to the shape of the model, block by block, so that memory is bounded.

A file of some kilobytes may hold minutes of silence in many channels. Its header is looked at first, and what is decoded is at once
brought to the model's rate and channels.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr

from audiotune.audio.decode import DecodedFile, measure_covariance, open_sound
from audiotune.audio.downmix import choose_mix, choose_mono_weights
from audiotune.audio.sound import Frames, Sound
from audiotune.domain.base64_files import decode_base64_file
from audiotune.domain.generation import GenerationRequest
from audiotune.errors import NotInStoreError, SoundError
from audiotune.store.port import Store, compute_digest
from services.generation.engine.init_consent import require_init_consent
from services.generation.engine.sound_records import read_sound_record
from services.generation.errors import InitAudioError, UnknownSoundError
from services.generation.settings import GenerationSettings

MOST_VALUES = 25_000_000  # frames x channels of a file: a minute of stereo at 192 kHz, or of eight channels at 48 kHz
_BLOCK_FRAMES = 1 << 15
_LOUDEST = 100.0  # 40 dB above full scale: what is louder is no sound, and its square soon no number
_SEND = "Send a whole sound file, as in WAV, FLAC, MP3, M4A, Ogg or WebM"
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

    Raises InitAudioError naming the field, InitConsentError.
    """
    if request.init_sound:
        try:
            key = read_sound_record(store, request.init_sound, member).blob
            require_init_consent(store, request.init_sound, member, "init_sound")
            take(store.size(key))
            return _decode_init(settings, store.get(key), "init_sound", shape, take), request.init_sound
        except (UnknownSoundError, NotInStoreError):
            raise _init_error("init_sound", "no such sound, or not yours to hear") from None
    if request.init_audio:
        if len(request.init_audio) > settings.body_mb * 1e6:
            raise _init_error("init_audio", f"more than {settings.body_mb:g} MB of base64")
        data = _decode_base64(request.init_audio)
        digest = compute_digest(data)
        require_init_consent(store, digest, member, "init_audio")
        return _decode_init(settings, data, "init_audio", shape, take), digest
    return None, None


def _decode_base64(text: str) -> bytes:
    """The file in `init_audio`. Raises InitAudioError."""
    try:
        return decode_base64_file(text)
    except ValueError as e:
        raise _init_error("init_audio", str(e)) from None


def _decode_init(settings: GenerationSettings, data: bytes, field: str, shape: tuple[int, int], take: TakeMemory) -> Sound:
    with tempfile.NamedTemporaryFile(prefix="init-") as copy:
        copy.write(data)
        copy.flush()
        path = Path(copy.name)
        try:
            with open_sound(path, _BLOCK_FRAMES) as file:
                most = _count_most_frames(settings, file, field)
                frames = most if file.promised_frames is None else min(file.promised_frames, most)
                take(4 * shape[1] * math.ceil(frames * shape[0] / file.sample_rate_hz))
                weights = _choose_weights(path, file, shape[1], most)
                sound = _read_blocks(file, weights, shape, most, field)
        except (SoundError, MemoryError) as e:
            words = e.what if isinstance(e, SoundError) else "too large"  # its cure speaks of folders of recordings
            raise _init_error(field, f"no sound that can be read ({words}). {_SEND}") from None
    if np.abs(sound.data).max() > _LOUDEST:
        raise _init_error(field, "far beyond full scale")
    return sound


def _count_most_frames(settings: GenerationSettings, file: DecodedFile, field: str) -> int:
    """How many frames of such a file are decoded at most. Raises InitAudioError when its header promises more."""
    if file.channels > 8 or not 1000 <= file.sample_rate_hz <= 384_000:
        raise _init_error(field, f"{file.channels} channels at {file.sample_rate_hz} Hz; at most 8, at 1000 to 384000 Hz")
    longest, largest = math.floor(settings.init_s * file.sample_rate_hz), MOST_VALUES // file.channels
    _check_frames(file.promised_frames or 0, longest, largest, file, field)
    return min(longest, largest)


def _check_frames(frames: int, longest: int, largest: int, file: DecodedFile, field: str) -> None:
    if frames > longest:
        raise _init_error(field, f"longer than {longest / file.sample_rate_hz:.0f} s")
    if frames > largest:
        values = f"{frames} frames of {file.channels} channels; at most {largest} frames of them"
        raise _init_error(field, f"{values}: lower the rate, or mix channels down")


def _read_blocks(file: DecodedFile, weights: Frames | None, shape: tuple[int, int], most: int, field: str) -> Sound:
    """The frames at the shape's rate and channels: the same numbers as if the whole were mixed and resampled."""
    rate_hz, channels = shape
    parts: list[Frames] = []
    resampler = soxr.ResampleStream(file.sample_rate_hz, rate_hz, channels, dtype="float32", quality="HQ")
    done = 0
    for block in file.blocks:
        done += len(block)
        _check_frames(done, most, most, file, field)
        mixed = block if weights is None else block @ weights.T
        parts.append(mixed.copy() if rate_hz == file.sample_rate_hz else resampler.resample_chunk(np.ascontiguousarray(mixed)))
    if rate_hz != file.sample_rate_hz:
        parts.append(resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True))
    return Sound(np.concatenate(parts).T, rate_hz)


def _choose_weights(path: Path, file: DecodedFile, channels: int, most: int) -> Frames | None:
    """[channels, channels of the file]: how the file's channels are mixed; None where nothing is. May read the file once."""
    if file.channels == channels:
        return None
    if file.channels == 1:
        return np.ones((channels, 1), np.float32)
    covariance = measure_covariance(path, most)
    if channels == 2:
        return np.array(choose_mix(file.speakers, covariance)[0], np.float32)
    return np.repeat(choose_mono_weights(covariance)[None], channels, axis=0)


def _init_error(field: str, why: str) -> InitAudioError:
    return InitAudioError(f"{field}: {why}", where=field, cure=why)
