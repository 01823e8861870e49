"""Streaming decode of sound files: soundfile where it can, PyAV for M4A, AAC and the sound of videos.

The format is found by the content, never by the suffix. Reading to the end of `DecodedFile.blocks` proves that a file is whole:
a file that was cut short, is damaged or contains NaN raises.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf

from audiotune.audio.sound import Frames
from audiotune.audio.wav import BYTES_BY_SUBTYPE, find_data_offset, read_pcm_blocks
from audiotune.errors import SoundError

BLOCK_FRAMES = 1 << 16
_BIT_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_SUFFIXES = {"WAVEX": ".wav", "RF64": ".wav"} | {
    format: f".{format.lower()}" for format in ("WAV", "AIFF", "FLAC", "OGG", "MP3", "CAF", "W64", "AU")
}
# What PyAV may open. Playlists and the like are left out: they can name other files and addresses.
_AV_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,aac,avi,asf,flv,mpegts,mpeg,caf,wav,flac,mp3,aiff,ac3"
_AV_OPTIONS = {"format_whitelist": _AV_FORMATS, "protocol_whitelist": "file"}
_AV_SUFFIXES = {"mov": ".m4a", "matroska": ".mka", "ogg": ".ogg", "aac": ".aac"}
_EXPORT = "open it in an audio editor and export it as WAV"


@dataclass(frozen=True)
class DecodedFile:
    """A file being decoded.

    Attributes:
        format: container and encoding, as in "WAV PCM_24" or "MOV AAC".
        bit_depth: of uncompressed and lossless encodings, else None.
        promised_frames: the number in the header, or None when it has no reliable one.
        suffix: the suffix that fits the content, as in ".flac".
        blocks: float32 [frames, channels] in order, to be read once; raises SoundError at damage and at NaN.
    """

    format: str
    bit_depth: int | None
    sample_rate_hz: int
    channels: int
    promised_frames: int | None
    suffix: str
    blocks: Iterator[Frames]


@contextmanager
def open_sound(path: Path, block_frames: int = BLOCK_FRAMES) -> Iterator[DecodedFile]:
    """Opens a file for one streaming decode. Raises SoundError: empty, no sound in it, cut short in a way its container shows."""
    with path.open("rb") as raw:
        head = raw.read(4096)
        if not head:
            raise SoundError("the file is empty", where=path.name, cure="copy it again from the recorder")
        _check_container(raw, head, path)
    try:
        file = sf.SoundFile(path)
    except (sf.LibsndfileError, RuntimeError, OSError, ValueError, TypeError) as e:
        with _open_with_av(path, block_frames, str(e)) as decoded:
            yield decoded
        return
    with file:
        yield _decode_with_soundfile(file, path, block_frames)


def _decode_with_soundfile(file: sf.SoundFile, path: Path, block_frames: int) -> DecodedFile:
    # libsndfile says 2**63 - 1 where a stream's length is unknown.
    promised = file.frames if 0 <= file.frames < 1 << 60 else None
    return DecodedFile(
        format=f"{file.format} {file.subtype}",
        bit_depth=_BIT_DEPTHS.get(file.subtype),
        sample_rate_hz=int(file.samplerate),
        channels=int(file.channels),
        promised_frames=promised,
        suffix=_SUFFIXES.get(file.format, ""),
        blocks=_check_blocks(_read_blocks(file, path, block_frames), path, promised, int(file.samplerate)),
    )


def _read_blocks(file: sf.SoundFile, path: Path, block_frames: int) -> Iterator[Frames]:
    width = BYTES_BY_SUBTYPE.get(file.subtype)
    if file.format in ("WAV", "WAVEX") and file.endian == "FILE" and width:
        with path.open("rb") as raw:
            offset = find_data_offset(raw, file.channels, width)
        if offset is not None:
            return read_pcm_blocks(path, offset, file.frames, file.channels, width, block_frames)
    return _read_soundfile_blocks(file, path, block_frames)


def _read_soundfile_blocks(file: sf.SoundFile, path: Path, block_frames: int) -> Iterator[Frames]:
    buffer = np.empty((block_frames, file.channels), np.float32)
    while True:
        try:
            block = file.read(out=buffer)
        except (sf.LibsndfileError, RuntimeError, OSError) as e:
            raise SoundError(f"the sound breaks off: {_strip_path(e)}", where=path.name, cure="copy it again") from e
        if not len(block):
            return
        yield block


def _check_blocks(blocks: Iterator[Frames], path: Path, promised: int | None, rate: int, slack: int = 0) -> Iterator[Frames]:
    """Yields the blocks; raises at NaN, and at the end when there were fewer frames than promised."""
    frames = 0
    for block in blocks:
        # One dot product instead of a check of every frame: it is finite when all frames are (and not absurdly loud).
        if not np.isfinite(np.vdot(block, block)):
            _raise_not_finite(block, path, frames / rate)
        frames += len(block)
        yield block
    if frames == 0:
        raise SoundError("the file holds no frames", where=path.name, cure="record or export it again")
    if promised is not None and frames < promised - slack:
        raise SoundError(f"the file is cut short: {frames} of {promised} frames are there", where=path.name, cure="copy it again")


def _raise_not_finite(block: Frames, path: Path, start_s: float) -> None:
    bad = ~np.isfinite(block).all(axis=1)
    fault = "NaN or infinite values" if bad.any() else "values far beyond full scale"
    raise SoundError(f"the sound holds {fault} near {start_s:.1f} s", where=path.name, cure="export it again as WAV PCM_24")


# ---- containers with a wrong length ----


def _check_container(file: BinaryIO, head: bytes, path: Path) -> None:
    """Checks the chunk sizes: libsndfile reads a cut WAV or AIFF file as a shorter one."""
    size = path.stat().st_size
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        missing = _count_missing_bytes(file, size, "<I", _read_ds64_data_size(head))
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        missing = _count_missing_bytes(file, size, ">I", None)
    elif head[:4] == b"OggS":
        missing = 0 if _has_last_ogg_page(file, size) else 1
    else:
        return
    if missing > 0:
        raise SoundError("the file is cut short: its end is missing", where=path.name, cure="copy it again from the recorder")


def _read_ds64_data_size(head: bytes) -> int | None:
    """RF64 (EBU Tech 3306): the real size of the data chunk is in the chunk `ds64`, which comes first."""
    if head[:4] == b"RF64" and head[12:16] == b"ds64" and len(head) >= 36:
        return int(struct.unpack("<Q", head[28:36])[0])
    return None


def _count_missing_bytes(file: BinaryIO, size: int, order: str, data_size: int | None) -> int:
    """Walks the chunks up to the sound data and returns how many bytes of it lie beyond the end of the file."""
    at = 12
    for _ in range(1000):
        file.seek(at)
        chunk = file.read(8)
        if len(chunk) < 8:
            return 0  # no data chunk: the decoder has a better message for that
        length = int(struct.unpack(order, chunk[4:])[0])
        if chunk[:4] in (b"data", b"SSND"):
            if length in (0xFFFFFFFF, 0x7FFFFFFF, 0):  # a stream or RF64: the length is elsewhere, or nowhere
                length = data_size if data_size is not None else 0
            return at + 8 + length - size
        at += 8 + length + length % 2
    return 0


def _has_last_ogg_page(file: BinaryIO, size: int) -> bool:
    """An Ogg file is whole when its last page has the flag for it (RFC 3533: bit 0x04 of the header type) and is complete."""
    file.seek(max(0, size - 70_000))  # a page has at most 65,307 bytes
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    return bool(tail[at + 5] & 0x04) and len(tail) >= at + 27 + len(table) + sum(table)


# ---- PyAV ----


@contextmanager
def _open_with_av(path: Path, block_frames: int, reason: str) -> Iterator[DecodedFile]:
    import av

    try:
        container = av.open(str(path.resolve()), options=_AV_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as e:
        raise SoundError(_describe_open_failure(path, reason), where=path.name, cure=_EXPORT) from e
    with container:
        if not container.streams.audio:
            raise SoundError("there is no sound in it, only pictures or data", where=path.name, cure="export its sound as WAV")
        stream = container.streams.audio[0]
        try:
            yield _decode_with_av(container, stream, path, block_frames)
        except av.error.FFmpegError as e:
            raise SoundError(f"the sound breaks off: {_strip_path(e)}", where=path.name, cure="copy it again") from e


def _describe_open_failure(path: Path, reason: str) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":  # MP4 and related formats may keep their table of contents at the end
        return "the file is cut short or damaged: its table of contents is missing"
    return f"this is no sound file ({_strip_path(reason)})"


def _decode_with_av(container: Any, stream: Any, path: Path, block_frames: int) -> DecodedFile:
    rate, channels = int(stream.codec_context.sample_rate or 0), int(stream.codec_context.channels or 0)
    if rate <= 0 or channels <= 0:
        raise SoundError("its sound has no rate or no channels", where=path.name, cure=_EXPORT)
    promised = _read_av_frame_count(container, stream, rate)
    kind = container.format.name.split(",")[0]
    return DecodedFile(
        format=f"{kind.upper()} {stream.codec_context.name.upper()}",
        bit_depth=stream.codec_context.format.bits
        if "pcm" in stream.codec_context.name or stream.codec_context.name in ("alac", "flac")
        else None,
        sample_rate_hz=rate,
        channels=channels,
        promised_frames=promised,
        suffix=_AV_SUFFIXES.get(kind, f".{kind}"),
        # Encoders round to whole packets and players trim them: a quarter of a second is no damage.
        blocks=_check_blocks(_read_av_blocks(container, stream, block_frames), path, promised, rate, slack=rate // 4),
    )


def _read_av_frame_count(container: Any, stream: Any, rate: int) -> int | None:
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * rate)
    only_sound = len(container.streams) == 1  # a picture may last longer than the sound beside it
    return round(container.duration / 1e6 * rate) if container.duration and only_sound else None


def _read_av_blocks(container: Any, stream: Any, block_frames: int) -> Iterator[Frames]:
    """Decoded packets, joined to blocks of at least `block_frames`: many small ones would be slow to process."""
    import av

    resampler = av.AudioResampler(format="flt", rate=stream.codec_context.sample_rate)
    channels, parts, held = int(stream.codec_context.channels), [], 0
    for frame in _resample_av_frames(container, stream, resampler):
        part = frame.to_ndarray().reshape(-1, channels)
        parts.append(part)
        held += len(part)
        if held >= block_frames:
            yield np.concatenate(parts)
            parts, held = [], 0
    if held:
        yield np.concatenate(parts)


def _resample_av_frames(container: Any, stream: Any, resampler: Any) -> Iterator[Any]:
    for frame in container.decode(stream):
        frame.pts = None  # gaps in the time stamps are no frames
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _strip_path(error: object) -> str:
    """An error's text without its path, which may be a temporary one."""
    words = str(error).strip().rstrip(".")
    return words.rpartition(": ")[2] if ": " in words else words
