"""Decodes compressed sound and the sound of videos with PyAV: to the end of what can be decoded, all sound tracks together.

What cannot be decoded is passed over and counted. Promises of a length are kept apart from estimates: only formats whose header
binds the encoder (MP4, Matroska, FLAC, CAF; MP3 with a Xing or VBRI frame) have one.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiotune.audio.file_kinds import FileKind
from audiotune.audio.file_view import open_view
from audiotune.audio.mpeg_frames import is_incomplete_frame, read_promised_samples
from audiotune.audio.sound import Frames
from audiotune.errors import SoundError

# What PyAV may open. Playlists and the like are left out: they can name other files and addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,aac,avi,asf,flv,mpegts,mpeg,caf,wav,flac,mp3,aiff,ac3,eac3,wv,amr,ape,tta"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_SUFFIXES = {"mov": ".m4a", "matroska": ".mka", "mpegts": ".ts"}
_EXPORT = "open it in an audio editor and export it as WAV"
Extents = Sequence[tuple[int, int]]
_MOST_TRACKS = 16
_CODECS = {"mp3": "MPEG_LAYER_III", "mp2": "MPEG_LAYER_II", "mp1": "MPEG_LAYER_I"}
_BOUND_BY_HEADER = ("mov", "matroska", "caf", "wv", "ape", "tta")
_SLACK_S = 0.25  # encoders round to whole packets and players trim them: that is no damage


@dataclass
class DecodeFaults:
    """What was found while a stream was decoded; complete when its blocks are read.

    Attributes:
        damaged: packets that could not be decoded.
        decoded: packets that could.
        breaks_off: whether the last packet is not whole.
    """

    damaged: int = 0
    decoded: int = 0
    breaks_off: bool = False


@dataclass(frozen=True)
class CompressedSound:
    """A stream before its blocks are read; the attributes are those of `audiotune.audio.decode.DecodedFile`."""

    format: str
    bit_depth: int | None
    sample_rate_hz: int
    channels: int
    speakers: tuple[str, ...]
    promised_frames: int | None
    slack_frames: int
    suffix: str
    tracks: int
    tracks_left_out: int
    blocks: Iterator[Frames]
    faults: DecodeFaults = field(default_factory=DecodeFaults)


@contextlib.contextmanager
def open_compressed(path: Path, kind: FileKind, block_frames: int, extents: Extents | None = None) -> Iterator[CompressedSound]:
    """Opens a file, or a part of it, for one streaming decode.

    Args:
        kind: what `recognise_file` says.
        extents: (offset, bytes) of the parts that are to be read, as if they were the file.

    Raises:
        SoundError: FFmpeg does not know it, it has no sound, or nothing of it can be decoded.
    """
    with contextlib.ExitStack() as stack:
        faults = DecodeFaults()
        first = _open_track(stack, path, kind, extents, 0, faults)
        count = len(first.container.streams.audio)
        if count > _MOST_TRACKS:
            raise SoundError(f"it has {count} sound tracks, {_MOST_TRACKS} are the most", where=path.name, cure=_EXPORT)
        opened = [
            first,
            *(_open_track(stack, path, kind, extents, index, faults, first.rate or None) for index in range(1, count)),
        ]
        tracks = [track for track in opened if track.channels]
        if not tracks:
            raise SoundError(_describe_nothing(path, faults), where=path.name, cure="copy it again")
        yield _describe(path, kind, extents, tracks, block_frames, faults)


# ---- one track ----


@dataclass
class _Track:
    """One sound stream in a container of its own, so that tracks need not lie side by side in the file."""

    container: Any
    stream: Any
    rate: int
    channels: int = 0
    layout: Any = None
    parts: Iterator[Frames] = field(default_factory=lambda: iter(()))


def _open_track(
    stack: contextlib.ExitStack,
    path: Path,
    kind: FileKind,
    extents: Extents | None,
    index: int,
    faults: DecodeFaults,
    rate: int | None = None,
) -> _Track:
    import av

    source: Any = str(path.resolve())
    if extents is not None:
        source = stack.enter_context(open_view(path, extents))
    try:
        opened = av.open(source, format=kind.demuxer or None, options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as e:
        raise SoundError(_describe_open_failure(kind), where=path.name, cure=_EXPORT) from e
    container = stack.enter_context(opened)
    if not container.streams.audio:
        raise SoundError("there is no sound in it, only pictures or data", where=path.name, cure="export its sound as WAV")
    stream = container.streams.audio[index]
    if stream.codec_context is None:
        if index == 0 and len(container.streams.audio) == 1:
            raise SoundError("its sound is of a kind that is not known here", where=path.name, cure=_EXPORT)
        return _Track(container, stream, rate or 0)
    frames = _decode_packets(container, stream, faults)
    first = next(frames, None)
    if first is None:
        return _Track(container, stream, rate or 0)
    rate = rate or int(first.sample_rate)
    channels = len(first.layout.channels)
    if rate <= 0 or channels <= 0:
        raise SoundError("its sound has no rate or no channels", where=path.name, cure=_EXPORT)
    return _Track(container, stream, rate, channels, first.layout, _convert_frames(first, frames, rate, channels))


def _describe_open_failure(kind: FileKind) -> str:
    if kind.id == "mov":  # MP4 and related formats may keep their table of contents at the end
        return "the file is cut short or damaged: its table of contents is missing"
    if kind.id:
        return f"this looks like {kind.words}, but nothing of it can be decoded"
    return "this is no sound file, or of a kind that is not known here"


def _describe_nothing(path: Path, faults: DecodeFaults) -> str:
    return f"none of its {faults.damaged} packets can be decoded" if faults.damaged else "the file holds no frames"


def _decode_packets(container: Any, stream: Any, faults: DecodeFaults) -> Iterator[Any]:
    """Every frame that can be decoded. A damaged packet is counted and passed over."""
    import av

    framed = stream.codec_context.name.startswith(("mp3", "mp2", "mp1")) or container.format.name == "aac"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, ValueError):
            faults.breaks_off = True
            packet = None
        content = bytes(packet) if framed and packet is not None else b""
        try:
            if is_incomplete_frame(content):  # decoded all the same, its end would be noise
                raise ValueError
            frames = packet.decode() if packet is not None else _flush(stream)
        except (av.error.FFmpegError, ValueError):
            if not framed or is_incomplete_frame(content):  # what is no frame at all, as a tag, is no damage
                faults.damaged += 1
                faults.breaks_off = True
            frames = []
        else:
            if packet is not None and packet.size:
                faults.decoded += 1
                faults.breaks_off = False
        yield from frames
        if packet is None:
            return


def _flush(stream: Any) -> list[Any]:
    import av

    try:
        return list(stream.codec_context.decode(None))
    except (av.error.FFmpegError, ValueError):  # flushed before
        return []


def _convert_frames(first: Any, rest: Iterator[Any], rate: int, channels: int) -> Iterator[Frames]:
    """FFmpeg's frames as float32 [frames, channels] at one rate, also where a stream changes between its parts."""
    import av

    resampler: Any = None
    before = None
    for frame in _chain(first, rest):
        now = (frame.format.name, frame.layout.name, len(frame.layout.channels), frame.sample_rate)
        if now != before:
            if resampler is not None:
                yield from _to_arrays(resampler.resample(None), channels)
            resampler, before = av.AudioResampler(format="flt", layout=frame.layout, rate=rate), now
        frame.pts = None  # gaps in the time stamps are no frames
        yield from _to_arrays(resampler.resample(frame), channels)
    if resampler is not None:
        yield from _to_arrays(resampler.resample(None), channels)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _to_arrays(frames: list[Any], channels: int) -> Iterator[Frames]:
    for frame in frames:
        found = len(frame.layout.channels)
        data: Frames = frame.to_ndarray().reshape(-1, found)
        yield fit_channels(data, channels)


def fit_channels(frames: Frames, channels: int) -> Frames:
    """[frames, n] -> [frames, channels] for a part of a stream that has another number of channels than its beginning."""
    found = frames.shape[1]
    if found == channels:
        return frames
    if found == 1:
        return np.repeat(frames, channels, axis=1)
    out = np.zeros((len(frames), channels), np.float32)
    for channel in range(found):  # every channel goes somewhere
        out[:, channel % channels] += frames[:, channel] / -(-found // channels)
    return out


# ---- all tracks ----


def _describe(
    path: Path, kind: FileKind, extents: Extents | None, tracks: list[_Track], block_frames: int, faults: DecodeFaults
) -> CompressedSound:
    first = tracks[0]
    codec = first.stream.codec_context
    container = first.container.format.name.split(",")[0]
    coding = codec.name.removesuffix("float")
    bits = codec.format.bits if "pcm" in codec.name or codec.name in ("alac", "flac") else None
    promised, slack = _read_promise(first, container, kind, path, extents)
    if kind.id == "flac":
        bits, total = _read_flac_header(path, kind.offset)
        coding, promised, slack = f"PCM_{bits}", total, 0
    return CompressedSound(
        format=f"{container.upper()} {_CODECS.get(coding, coding.upper())}",
        bit_depth=bits,
        sample_rate_hz=first.rate,
        channels=sum(track.channels for track in tracks),
        speakers=_name_speakers(first.layout) if len(tracks) == 1 else (),
        promised_frames=promised,
        slack_frames=slack,
        suffix=_SUFFIXES.get(container, f".{container}"),
        tracks=len(tracks),
        tracks_left_out=len(first.container.streams.audio) - len(tracks),
        blocks=_join_tracks([_collect_blocks(track.parts, block_frames) for track in tracks], [t.channels for t in tracks]),
        faults=faults,
    )


def _name_speakers(layout: Any) -> tuple[str, ...]:
    names = tuple(str(channel.name) for channel in layout.channels)
    return () if any(name.startswith(("USR", "UNSD", "NONE", "UNK")) or name == "?" for name in names) else names


def _read_promise(track: _Track, container: str, kind: FileKind, path: Path, extents: Extents | None) -> tuple[int | None, int]:
    """Frames that the header binds the file to, and how many may be missing all the same."""
    if kind.id == "mp3":
        with path.open("rb") as file:
            file.seek(kind.offset)
            promised = read_promised_samples(file.read(4096))
        return (promised[0], 3 * promised[1]) if promised else (None, 0)
    slack, stream = round(_SLACK_S * track.rate), track.stream
    if container not in _BOUND_BY_HEADER or extents is not None:
        return None, slack
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * track.rate), slack
    only_sound = len(track.container.streams) == 1  # a picture may last longer than the sound beside it
    duration = track.container.duration
    return (round(duration / 1e6 * track.rate) if duration and only_sound else None), slack


def _read_flac_header(path: Path, offset: int) -> tuple[int | None, int | None]:
    """Bit depth and number of frames of a FLAC file (RFC 9639, 8.2); None where its first block is another one, or says 0 frames."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(26)
    if len(head) < 26 or head[4] & 0x7F:
        return None, None
    word = int(struct.unpack(">Q", head[18:26])[0])
    return (word >> 36 & 31) + 1, (word & (1 << 36) - 1) or None


def _collect_blocks(parts: Iterator[Frames], block_frames: int) -> Iterator[Frames]:
    """Packets joined to blocks of `block_frames`, the last one shorter: many small ones would be slow to process."""
    held: list[Frames] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= block_frames:
            joined = np.concatenate(held)
            for start in range(0, count - block_frames + 1, block_frames):
                yield joined[start : start + block_frames]
            rest = joined[count // block_frames * block_frames :]
            held, count = [rest], len(rest)
    if count:
        yield np.concatenate(held)


def _join_tracks(tracks: list[Iterator[Frames]], channels: list[int]) -> Iterator[Frames]:
    """The channels of all tracks side by side; a track that ends first is silent from there on."""
    if len(tracks) == 1:
        yield from tracks[0]
        return
    while True:
        blocks = [next(track, None) for track in tracks]
        longest = max((len(block) for block in blocks if block is not None), default=0)
        if not longest:
            return
        joined = np.zeros((longest, sum(channels)), np.float32)
        at = 0
        for block, count in zip(blocks, channels, strict=True):
            if block is not None:
                joined[: len(block), at : at + count] = block
            at += count
        yield joined


def strip_path(error: object) -> str:
    """An error's text without its path, which may be a temporary one."""
    words = str(error).strip().rstrip(".")
    return words.rpartition(": ")[2] if ": " in words else words
