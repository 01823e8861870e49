"""Streaming decode of sound files: everything that sounds, to the end of what can be decoded.

The format is found by the content, never by the suffix. Uncompressed sound is read from where it lies (`chunks`), by libsndfile; compressed
sound and videos by PyAV (`compressed`). A size in a header is believed only where the format makes it binding, and where the file
agrees. Reading to the end of `DecodedFile.blocks` fills `DecodedFile.findings`: whether the file breaks off before its end, and what
else a listener should know. NaN, and a file of which less than a second is whole, raise.
"""

import contextlib
import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from audiotune.audio.chunks import SoundData, find_sound_data
from audiotune.audio.compressed import CompressedSound, fit_channels, open_compressed, strip_path
from audiotune.audio.downmix import ChannelStatistics
from audiotune.audio.file_kinds import FileKind, recognise_file
from audiotune.audio.file_view import open_view
from audiotune.audio.ogg_links import find_ogg_links
from audiotune.audio.sound import Frames
from audiotune.audio.wav import BYTES_BY_SUBTYPE, read_pcm_blocks
from audiotune.errors import SoundError

BLOCK_FRAMES = 1 << 16
LEAST_WHOLE_S = 1.0  # a file that breaks off before is refused
_BIT_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_SUFFIXES = {"WAVEX": ".wav", "RF64": ".wav"} | {
    format: f".{format.lower()}" for format in ("WAV", "AIFF", "FLAC", "OGG", "MP3", "CAF", "W64", "AU")
}
_AV_KINDS = frozenset(("mp3", "adts", "flac", "ogg", "mov", "matroska", "asf", "avi", "wavpack", "amr", "ape", "tta"))
_ID3V1_BYTES = 128
_MPEG_TAGS = (b"\x50\0", b"\x55\0")  # in the format chunk of a WAV file


@dataclass
class DecodeFindings:
    """What was found while a file was decoded; complete when its blocks are read.

    Attributes:
        ends_early: whether the file breaks off before its end.
        notes: what else is said of it, in words for a musician.
    """

    ends_early: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DecodedFile:
    """A file being decoded.

    Attributes:
        format: container and encoding, as in "WAV PCM_24" or "MOV AAC".
        bit_depth: of uncompressed and lossless encodings, else None.
        promised_frames: the number in the header, or None when it has no reliable one.
        suffix: the suffix that fits the content, as in ".flac".
        blocks: float32 [frames, channels] in order, to be read once; the next may overwrite the one before. Raises SoundError.
        speakers: FFmpeg's name of each channel's speaker, as in ("FL", "FR", "FC"), or () where the file does not say.
        findings: filled while the blocks are read.
    """

    format: str
    bit_depth: int | None
    sample_rate_hz: int
    channels: int
    promised_frames: int | None
    suffix: str
    blocks: Iterator[Frames]
    speakers: tuple[str, ...] = ()
    findings: DecodeFindings = field(default_factory=DecodeFindings)


@contextmanager
def open_sound(path: Path, block_frames: int = BLOCK_FRAMES) -> Iterator[DecodedFile]:
    """Opens a file for one streaming decode. Raises SoundError: empty, no sound in it, or of a kind that is not decoded here."""
    kind = recognise_file(path)
    if kind.cure and kind.id != "text":
        raise SoundError(f"this is {kind.words}, no sound file", where=path.name, cure=kind.cure)
    data = find_sound_data(path, kind.id, kind.offset)
    with contextlib.ExitStack() as stack:
        if data is not None and data.subtype:
            yield _decode_data(stack, path, data, block_frames)
        elif data is not None and data.format_chunk[8:10] in _MPEG_TAGS:
            yield _decode_mpeg_in_wav(stack, path, data, block_frames)
        elif kind.id == "ogg":
            yield _decode_ogg(stack, path, kind, block_frames)
        elif kind.id in _AV_KINDS:
            yield _decode_by_av_first(stack, path, kind, block_frames)
        else:
            yield _decode_by_libsndfile_first(stack, path, kind, data, block_frames)


def measure_covariance(path: Path, most_frames: int | None = None) -> NDArray[np.float64]:
    """[channels, channels]: energies and products of a file's channels, over the whole or its first frames; see `choose_mix`."""
    with open_sound(path) as decoded:
        statistics, frames = ChannelStatistics(decoded.channels), 0
        for block in decoded.blocks:
            statistics.add(block)
            frames += len(block)
            if most_frames is not None and frames >= most_frames:
                break
        return statistics.covariance


# ---- uncompressed ----


def _decode_data(stack: contextlib.ExitStack, path: Path, data: SoundData, block_frames: int) -> DecodedFile:
    """Sound that needs no decoder but libsndfile's conversion of numbers, from where `find_sound_data` found it."""
    if not 0 < data.sample_rate_hz < 1 << 31 or data.channels > 1024:
        words = f"its sound has no rate or no channels that can be ({data.channels} channels at {data.sample_rate_hz} Hz)"
        raise SoundError(words, where=path.name, cure="export it again")
    width = BYTES_BY_SUBTYPE.get(data.subtype)
    if width and not data.big_endian and len(data.extents) == 1:
        blocks = read_pcm_blocks(path, data.extents[0][0], data.frames, data.channels, width, block_frames)
    else:
        raw = stack.enter_context(open_view(path, data.extents))
        endian = "BIG" if data.big_endian else "LITTLE"
        file = sf.SoundFile(raw, "r", data.sample_rate_hz, data.channels, data.subtype, endian, "RAW")
        blocks = _read_soundfile_blocks(stack.enter_context(file), path, block_frames, data.frames)
    findings = DecodeFindings(ends_early=data.missing_bytes > 0)
    if len(data.extents) > 1:
        findings.notes.append(f"{len(data.extents)} pieces of sound in it, one behind the other")
    if data.leaves_out:
        findings.notes.append("a sound of another format follows in the same file and was left out")
    if not data.believed and not findings.ends_early:
        findings.notes.append("its header was never finished: read to the end of the file")
    promised = data.frames + data.missing_bytes // data.frame_bytes
    decoded = DecodedFile(
        format=f"{data.container} {data.subtype}",
        bit_depth=_BIT_DEPTHS.get(data.subtype),
        sample_rate_hz=data.sample_rate_hz,
        channels=data.channels,
        promised_frames=promised,
        suffix=_SUFFIXES[data.container],
        blocks=blocks,
        speakers=data.speakers,
        findings=findings,
    )
    return _with_checks(decoded, path, promised)


def _read_soundfile_blocks(file: sf.SoundFile, path: Path, block_frames: int, frames: int | None = None) -> Iterator[Frames]:
    """The next `frames`, or all. A decoder that is asked for more than there is may stumble over what lies behind, and give nothing."""
    buffer = np.empty((block_frames, file.channels), np.float32)
    while frames is None or frames > 0:
        try:
            block = file.read(out=buffer[:frames])
        except OSError as e:
            raise SoundError(f"the sound cannot be read: {strip_path(e)}", where=path.name, cure="copy it again") from e
        except (sf.LibsndfileError, RuntimeError):
            return  # what comes behind the damage is missing: see `_check_blocks`
        if not len(block):
            return
        frames = None if frames is None else frames - len(block)
        yield block


# ---- libsndfile's other formats ----


def _decode_by_libsndfile_first(
    stack: contextlib.ExitStack, path: Path, kind: FileKind, data: SoundData | None, block_frames: int
) -> DecodedFile:
    source = stack.enter_context(_open_mended(path, data)) if data is not None and _needs_mending(data) else str(path)
    try:
        file = stack.enter_context(sf.SoundFile(source))
        if file.format == "MP3" and not kind.id:
            raise RuntimeError("chance: no two frames follow each other")
    except (sf.LibsndfileError, RuntimeError, OSError, ValueError, TypeError) as e:
        if kind.id == "text":
            raise SoundError(f"this is {kind.words}, no sound file", where=path.name, cure=kind.cure) from e
        return _decode_by_av(stack, path, kind, block_frames, data)
    decoded = _describe_soundfile(file, path, block_frames)
    decoded.findings.ends_early = bool(data and data.missing_bytes)
    return _with_checks(decoded, path, decoded.promised_frames)


def _describe_soundfile(file: sf.SoundFile, path: Path, block_frames: int) -> DecodedFile:
    # libsndfile says 2**63 - 1 where a stream's length is unknown, and estimates that of an MP3.
    promised = file.frames if 0 <= file.frames < 1 << 60 and file.format != "MP3" else None
    return DecodedFile(
        format=f"{file.format} {file.subtype}",
        bit_depth=_BIT_DEPTHS.get(file.subtype),
        sample_rate_hz=int(file.samplerate),
        channels=int(file.channels),
        promised_frames=promised,
        suffix=_SUFFIXES.get(file.format, ""),
        blocks=_read_soundfile_blocks(file, path, block_frames),
    )


def _needs_mending(data: SoundData) -> bool:
    return bool(data.format_chunk) and not (data.believed and len(data.extents) == 1)


def _open_mended(path: Path, data: SoundData) -> io.BufferedReader:
    """A compressed WAV file with a header that says where its sound ends."""
    length = min(data.bytes, 0xFFFFFFFF)
    head = b"WAVE" + data.format_chunk + b"data" + struct.pack("<I", length)
    return open_view(path, data.extents, b"RIFF" + struct.pack("<I", min(len(head) + length, 0xFFFFFFFF)) + head)


# ---- PyAV ----


def _decode_by_av_first(stack: contextlib.ExitStack, path: Path, kind: FileKind, block_frames: int) -> DecodedFile:
    try:
        return _decode_by_av(stack, path, kind, block_frames, None)
    except SoundError:
        try:  # MP3 in the free format, and FLAC with a damaged header: libsndfile's decoders know more of these
            file = stack.enter_context(sf.SoundFile(path)) if kind.id in ("mp3", "flac") else None
        except (sf.LibsndfileError, RuntimeError, OSError, ValueError):
            file = None
        if file is None:
            raise
    decoded = _describe_soundfile(file, path, block_frames)
    return _with_checks(decoded, path, None)


def _decode_by_av(
    stack: contextlib.ExitStack, path: Path, kind: FileKind, block_frames: int, data: SoundData | None
) -> DecodedFile:
    opened = stack.enter_context(open_compressed(path, kind, block_frames, _without_last_tag(path, kind)))
    decoded = _describe_compressed(opened)
    if data is not None and data.missing_bytes:
        decoded.findings.ends_early = True
    if kind.id == "flac" and opened.promised_frames:
        decoded = replace(decoded, blocks=_read_flac_blocks(path, opened, block_frames))
    return _with_checks(decoded, path, opened.promised_frames, opened)


def _read_flac_blocks(path: Path, opened: CompressedSound, block_frames: int) -> Iterator[Frames]:
    """By libFLAC, which is not led astray by what lies behind the last frame; behind damage, where it stops, by FFmpeg."""
    done, goes_on = 0, True
    with contextlib.suppress(sf.LibsndfileError, RuntimeError), path.open("rb") as raw, sf.SoundFile(raw) as file:
        if (file.format, file.channels, file.samplerate) == ("FLAC", opened.channels, opened.sample_rate_hz):
            for block in _read_soundfile_blocks(file, path, block_frames, opened.promised_frames):
                done += len(block)
                yield block
            # The count may be an early one: libFLAC stops there, and has not read what lies behind.
            goes_on = done < (opened.promised_frames or 0) or any(
                sync in raw.read(1 << 16) for sync in (b"\xff\xf8", b"\xff\xf9")
            )
    for block in opened.blocks if goes_on else ():
        new = block[done:]
        done = max(0, done - len(block))
        if len(new):
            yield new


def _decode_mpeg_in_wav(stack: contextlib.ExitStack, path: Path, data: SoundData, block_frames: int) -> DecodedFile:
    """MP3 in a WAV file: the stream itself says what it is, so a header that was never finished does no harm."""
    kind = FileKind("mp3", "an MP3 in a WAV file", demuxer="mp3", offset=data.extents[0][0])
    opened = stack.enter_context(open_compressed(path, kind, block_frames, data.extents))
    decoded = replace(_describe_compressed(opened), format=opened.format.replace("MP3", data.container), suffix=".wav")
    decoded.findings.ends_early = data.missing_bytes > 0
    return _with_checks(decoded, path, opened.promised_frames, opened)


def _without_last_tag(path: Path, kind: FileKind) -> list[tuple[int, int]] | None:
    """The part of a FLAC file before an ID3v1 tag: FFmpeg would take the tag for a part of the last frame, and lose that."""
    size = path.stat().st_size
    if kind.id != "flac" or size < _ID3V1_BYTES:
        return None
    with path.open("rb") as file:
        file.seek(size - _ID3V1_BYTES)
        return [(kind.offset, size - _ID3V1_BYTES - kind.offset)] if file.read(3) == b"TAG" else None


def _describe_compressed(opened: CompressedSound) -> DecodedFile:
    findings = DecodeFindings()
    if opened.tracks > 1:
        findings.notes.append(f"{opened.tracks} sound tracks, all heard together")
    if opened.tracks_left_out:
        findings.notes.append(f"{opened.tracks_left_out} more sound tracks that cannot be decoded")
    return DecodedFile(
        format=opened.format,
        bit_depth=opened.bit_depth,
        sample_rate_hz=opened.sample_rate_hz,
        channels=opened.channels,
        promised_frames=opened.promised_frames,
        suffix=opened.suffix,
        blocks=opened.blocks,
        speakers=opened.speakers,
        findings=findings,
    )


def _decode_ogg(stack: contextlib.ExitStack, path: Path, kind: FileKind, block_frames: int) -> DecodedFile:
    """An Ogg file, link by link: FFmpeg stops, and libsndfile ends, where a link has another rate or other channels."""
    links = find_ogg_links(path, kind.offset)
    if len(links.extents) == 1:
        opened = stack.enter_context(open_compressed(path, kind, block_frames))
        decoded, blocks = _describe_compressed(opened), opened.blocks
    else:
        opened = stack.enter_context(open_compressed(path, kind, block_frames, links.extents[:1]))
        decoded = _describe_compressed(opened)
        decoded.findings.notes.append(f"{len(links.extents)} streams one behind the other, all of them")
        blocks = _read_links(path, kind, links.extents[1:], block_frames, opened)
    decoded.findings.ends_early = not links.is_whole
    return _with_checks(replace(decoded, blocks=blocks), path, None, opened)


def _read_links(
    path: Path, kind: FileKind, extents: Sequence[tuple[int, int]], block_frames: int, first: CompressedSound
) -> Iterator[Frames]:
    import soxr

    yield from first.blocks
    for extent in extents:
        try:
            with open_compressed(path, kind, block_frames, [extent]) as link:
                resampler = None
                if link.sample_rate_hz != first.sample_rate_hz:
                    resampler = soxr.ResampleStream(link.sample_rate_hz, first.sample_rate_hz, link.channels, dtype="float32")
                for block in link.blocks:
                    same = resampler.resample_chunk(block) if resampler else block
                    if len(same):
                        yield fit_channels(same, first.channels)
                if resampler:
                    yield fit_channels(
                        resampler.resample_chunk(np.zeros((0, link.channels), np.float32), last=True), first.channels
                    )
                first.faults.damaged += link.faults.damaged
                first.faults.decoded += link.faults.decoded
        except SoundError:
            first.faults.damaged += 1


# ---- checks ----


def _with_checks(decoded: DecodedFile, path: Path, promised: int | None, opened: CompressedSound | None = None) -> DecodedFile:
    return replace(decoded, blocks=_check_blocks(decoded, path, promised, opened))


def _check_blocks(decoded: DecodedFile, path: Path, promised: int | None, opened: CompressedSound | None) -> Iterator[Frames]:
    """Yields the blocks; raises at NaN; completes the findings at the end."""
    frames, rate, findings = 0, decoded.sample_rate_hz, decoded.findings
    for block in decoded.blocks:
        # One dot product instead of a check of every frame: it is finite when all frames are (and not absurdly loud).
        if not np.isfinite(np.vdot(block, block)):
            _raise_not_finite(block, path, frames / rate)
        frames += len(block)
        yield block
    if frames == 0:
        raise SoundError("the file holds no frames", where=path.name, cure="record or export it again")
    slack = opened.slack_frames if opened else 0
    faults = opened.faults if opened else None
    if faults and faults.damaged > faults.decoded:
        raise SoundError(
            f"{faults.damaged} of {faults.damaged + faults.decoded} packets are damaged", where=path.name, cure="copy it again"
        )
    damaged_inside = bool(faults and faults.damaged and not faults.breaks_off)
    if (promised is not None and frames < promised - slack and not damaged_inside) or (faults and faults.breaks_off):
        findings.ends_early = True
    if findings.ends_early:
        whole = f" of {promised / rate:.2f} s" if promised is not None and promised > frames else ""
        words = f"{frames / rate:.2f} s{whole} {'are' if whole else 'is all that is'} there"
        if frames < LEAST_WHOLE_S * rate:
            raise SoundError(f"the file is cut short: {words}", where=path.name, cure="copy it again from the recorder")
        findings.notes.insert(0, f"ends early: {words}")
    if faults and faults.damaged > faults.breaks_off:
        findings.notes.append(f"{faults.damaged} damaged place{'s' if faults.damaged > 1 else ''} left out")


def _raise_not_finite(block: Frames, path: Path, start_s: float) -> None:
    bad = ~np.isfinite(block).all(axis=1)
    fault = "NaN or infinite values" if bad.any() else "values far beyond full scale"
    raise SoundError(f"the sound holds {fault} near {start_s:.1f} s", where=path.name, cure="export it again as WAV PCM_24")
