"""Finds the sound data in WAV, RF64, BW64, AIFF, AIFC, CAF and AU files, also where the header was never finished.

A recorder that loses power leaves a size of 0, an early one, or a placeholder; sizes of four bytes wrap at 4 GiB. So a size is
believed where other chunks follow it, or the end of the file; otherwise the sound goes on to the end of the file.

Sources: Microsoft RIFF (1991) and WAVEFORMATEXTENSIBLE, EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Apple AIFF-C (1991) and CAF.
"""

import math
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

# What programs write that cannot go back (sox, arecord, ffmpeg, GStreamer), some rounded to whole frames.
_PLACEHOLDERS = ((0, 0), (0x7FFFE000, 0x80000000), (0xFFFFE000, 0xFFFFFFFF), (0x7FFFFFFFFFFFE000, 0xFFFFFFFFFFFFFFFF))
_KNOWN_CHUNKS = frozenset(
    b"LIST INFO id3 ID3 bext iXML cue smpl inst fact PEAK JUNK junk FLLR PAD afsp DISP plst axml chna umid minf elm1 regn acid strc "
    b"_PMX cart levl link note labl ltxt data SSND MARK COMT NAME AUTH ANNO (c) APPL MIDI AESD INST FVER CHAN LGWV ResU ovwf SAUR "
    b"SyLp Cr8r SMED DGDA AFAn free info mark strg uuid umid edct midi peak ovvw pakt kuki chan desc".split()
)
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"<?xml", b"<x:xmpmeta")
_MOST_CHUNKS = 10_000
_LEAST_REST_S = 0.1  # what lies behind the sound and is shorter is no sound
_GUID_TAIL = bytes.fromhex("00001000800000aa00389b71")
_AMBISONIC_TAIL = bytes.fromhex("2107d3118644c8c1ca000000")
_SPEAKER_BITS = (
    "FL",
    "FR",
    "FC",
    "LFE",
    "BL",
    "BR",
    "FLC",
    "FRC",
    "BC",
    "SL",
    "SR",
    "TC",
    "TFL",
    "TFC",
    "TFR",
    "TBL",
    "TBC",
    "TBR",
)
_INTEGERS = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_FLOATS = {4: "FLOAT", 8: "DOUBLE"}


@dataclass(frozen=True)
class SoundData:
    """Where the sound of a file lies, and how it is encoded.

    Attributes:
        container: as libsndfile names it, "WAV", "WAVEX", "RF64", "AIFF", "CAF" or "AU".
        subtype: as libsndfile names it, "" for compressed sound.
        big_endian: the order of the bytes.
        frame_bytes: of one frame of all channels, 0 for compressed sound.
        speakers: FFmpeg's name of each channel's speaker, as in "FL", or () where the header does not say.
        extents: (offset, bytes) of the sound, in order.
        missing_bytes: of the sound, beyond the end of the file.
        believed: whether the sizes in the header are right.
        format_chunk: of a WAV file, as it is.
        leaves_out: whether sound of another format follows, which cannot be joined.
    """

    container: str
    subtype: str = ""
    big_endian: bool = False
    channels: int = 0
    sample_rate_hz: int = 0
    frame_bytes: int = 0
    speakers: tuple[str, ...] = ()
    extents: tuple[tuple[int, int], ...] = ()
    missing_bytes: int = 0
    believed: bool = True
    format_chunk: bytes = b""
    leaves_out: bool = False

    @property
    def bytes(self) -> int:
        return sum(length for _, length in self.extents)

    @property
    def frames(self) -> int:
        """Whole frames in the file."""
        return self.bytes // self.frame_bytes if self.frame_bytes else 0


@dataclass
class _Walk:
    """A file while its chunks are read. `found` grows."""

    file: BinaryIO
    size: int
    found: SoundData
    order: str  # of numbers, as `struct` has it
    length_format: str  # of a chunk's size
    sound_chunk: bytes
    sound_header: int = 0  # bytes of the sound chunk before the first frame
    long_sizes: list[int] = field(default_factory=list)  # of RF64's chunk ds64

    def read(self, at: int, count: int) -> bytes:
        if at >= self.size:  # also beyond what a file system can seek to
            return b""
        self.file.seek(at)
        return self.file.read(count)

    def read_chunk(self, at: int) -> tuple[bytes, int] | None:
        head = self.read(at, 4 + struct.calcsize(self.length_format))
        if len(head) < 4 + struct.calcsize(self.length_format):
            return None
        return head[:4], int(struct.unpack(self.order + self.length_format, head[4:])[0])

    @property
    def head_bytes(self) -> int:
        return 4 + struct.calcsize(self.length_format)


def find_sound_data(path: Path, kind: str, offset: int = 0) -> SoundData | None:
    """The sound data of a file of the kinds "wav", "aiff", "caf" and "au"; None for other kinds and without format or sound.

    Args:
        kind: `FileKind.id`.
        offset: where the container begins in the file.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(offset)
        head = file.read(12)
        if kind == "au":
            return _read_au(file, size, offset)
        if kind == "wav" and head[:4] != b"RIFX":
            container = "RF64" if head[:4] in (b"RF64", b"BW64") else "WAV"
            walk = _Walk(file, size, SoundData(container), "<", "I", b"data")
        elif kind == "aiff":
            walk = _Walk(file, size, SoundData("AIFF", big_endian=True), ">", "I", b"SSND", 8)
        elif kind == "caf":
            walk = _Walk(file, size, SoundData("CAF", big_endian=True), ">", "Q", b"data", 4)
        else:
            return None
        _walk_chunks(walk, offset + (8 if kind == "caf" else 12))
    return walk.found if walk.found.extents and walk.found.channels else None


def _walk_chunks(walk: _Walk, at: int) -> None:
    waiting: list[tuple[int, int]] = []  # sound chunks that came before the format
    for _ in range(_MOST_CHUNKS):
        chunk = walk.read_chunk(at)
        if chunk is None:
            break
        name, length = chunk
        start = at + walk.head_bytes
        if name in (b"RIFF", b"RF64") and walk.read(at + 8, 4) == b"WAVE":  # a second file behind the first
            at += 12
            continue
        if name == b"LIST" and walk.read(start, 4) == b"wavl":  # a list of sound chunks and silences
            at = start + 4
            continue
        if name == b"SSND" and not walk.found.extents:
            offset = struct.unpack(">I", walk.read(start, 4).rjust(4, b"\0"))[0]
            walk.sound_header = 8 + (offset if offset + 8 < min(length or walk.size, walk.size - start) else 0)
        if name == walk.sound_chunk:
            if not walk.found.frame_bytes and not walk.found.format_chunk:
                waiting.append((start, length))
            else:
                length = _add_extent(walk, start, length)
        elif not _read_description(walk, name, walk.read(start, min(length, 256))):
            walk.found = replace(walk.found, leaves_out=True)
            break
        at = start + length
        if length % 2 and not _is_chunk(walk, at):
            at += 1
    for start, length in waiting if walk.found.channels else ():
        _add_extent(walk, start, length)


def _add_extent(walk: _Walk, start: int, length: int) -> int:
    """Adds a sound chunk; returns the length that its header should have had."""
    found, right, missing = walk.found, length, 0
    if found.container == "RF64" and length == 0xFFFFFFFF and not found.extents and len(walk.long_sizes) > 1:
        length = right = walk.long_sizes[1]
    available = walk.size - start
    rounded = [length + (k << 32) for k in range(1 + (available >> 32))] if length < 1 << 32 else [length]
    fitting = next((one for one in rounded if one <= available and _ends_at_a_chunk(walk, start + one)), None)
    if fitting is not None:
        right = fitting
    elif length <= available and not _is_sound(walk, start + length, available - length):
        right = length
    else:
        right = available
        if length > available and not any(low <= length <= high for low, high in _PLACEHOLDERS):
            missing = length
    skip = walk.sound_header
    usable = right - skip - (right - skip) % max(1, found.frame_bytes)
    if usable > 0:
        walk.found = replace(
            found,
            extents=(*found.extents, (start + skip, usable)),
            missing_bytes=found.missing_bytes + max(0, missing - skip - usable),
            believed=found.believed and right == length,
        )
    return right


def _ends_at_a_chunk(walk: _Walk, at: int) -> bool:
    """Whether the file ends here, give or take padding, or goes on with chunks that are whole or known."""
    for pad in (0, 1) if at % 2 else (0,):
        here = at + pad
        for _ in range(_MOST_CHUNKS):
            if walk.size - here < walk.head_bytes:
                return True
            if not _is_chunk(walk, here):
                break
            name, length = walk.read_chunk(here) or (b"", 0)
            if name.strip() in _KNOWN_CHUNKS or name in (b"RIFF", b"RF64"):
                return True
            here += walk.head_bytes + length
            here += length % 2 if not _is_chunk(walk, here) else 0
    return False


def _is_chunk(walk: _Walk, at: int) -> bool:
    """Whether a chunk with a name of letters and a size inside the file, or a known name, is here."""
    name, length = walk.read_chunk(at) or (b"", 0)
    letters = len(name) == 4 and all(32 <= letter < 127 for letter in name)
    return letters and (name.strip() in _KNOWN_CHUNKS or at + walk.head_bytes + length <= walk.size + 1)


def _is_sound(walk: _Walk, at: int, rest: int) -> bool:
    """Whether what lies behind the promised sound is more of it: no tag, no zeros, and not only some bytes."""
    least = max(64, round(_LEAST_REST_S * walk.found.sample_rate_hz) * max(1, walk.found.frame_bytes))
    if rest < least or walk.read(at, 16).startswith(_TAGS):
        return False
    walk.file.seek(at)
    return any(block.strip(b"\0") for block in iter(lambda: walk.file.read(1 << 20), b""))


def _read_description(walk: _Walk, name: bytes, body: bytes) -> bool:
    """Reads a chunk about the format; False when it contradicts what was read before: another sound, which cannot be joined."""
    found = walk.found
    if name == b"ds64" and len(body) >= 24:
        walk.long_sizes = [int(number) for number in struct.unpack("<QQQ", body[:24])]
        return True
    if name == b"fmt " and found.container != "CAF" and len(body) >= 16:
        described = _read_wav_format(found.container, body)
    elif name == b"COMM" and len(body) >= 18:
        described = _read_aiff_format(body)
    elif name == b"desc" and len(body) >= 32:
        described = _read_caf_format(body)
    else:
        return True
    if found.channels:
        same = ("subtype", "channels", "sample_rate_hz", "frame_bytes")
        return all(getattr(found, part) == getattr(described, part) for part in same)
    walk.found = described
    return True


def _read_wav_format(container: str, body: bytes) -> SoundData:
    tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", body[:16])
    speakers: tuple[str, ...] = ()
    if tag == 0xFFFE and len(body) >= 40:
        mask, tag, tail = struct.unpack("<I", body[20:24])[0], struct.unpack("<H", body[24:26])[0], body[28:40]
        if tail == _AMBISONIC_TAIL:
            speakers = tuple(f"AMBI{channel}" for channel in range(channels))
        else:
            tag = tag if tail == _GUID_TAIL else 0
            speakers = name_speakers(mask, channels)
        container = "WAVEX" if container == "WAV" else container
    width = (bits + 7) // 8
    integers = {**_INTEGERS, 1: "PCM_U8"}
    subtype = {1: integers.get(width), 3: _FLOATS.get(width), 6: "ALAW", 7: "ULAW"}.get(tag) or ""
    if align != channels * width:
        subtype = ""
    return SoundData(
        container, subtype, False, channels, rate, align if subtype else 0, speakers,
        format_chunk=struct.pack("<4sI", b"fmt ", len(body)) + body,
    )  # fmt: skip


def name_speakers(mask: int, channels: int) -> tuple[str, ...]:
    """The speakers of a WAV's channel mask; () when it does not name one for each channel."""
    names = tuple(name for bit, name in enumerate(_SPEAKER_BITS) if mask >> bit & 1)
    return names if len(names) == channels else ()


def _read_aiff_format(body: bytes) -> SoundData:
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", body[:18])
    rate = math.ldexp(mantissa, (exponent & 0x7FFF) - 16383 - 63) if exponent < 16383 + 40 else 0.0
    encoding = body[18:22] if len(body) >= 22 else b"NONE"
    width = (bits + 7) // 8
    if encoding in (b"fl32", b"FL32", b"fl64", b"FL64"):
        subtype = _FLOATS.get(width, "")
    elif encoding in (b"ulaw", b"ULAW", b"alaw", b"ALAW"):
        subtype, width = encoding.decode().upper(), 1
    else:
        subtype = _INTEGERS.get(width, "") if encoding in (b"NONE", b"twos", b"sowt", b"in24", b"in32", b"raw ") else ""
        subtype = "PCM_U8" if encoding == b"raw " and width == 1 else subtype
    frame_bytes = max(0, channels) * width if subtype else 0
    return SoundData("AIFF", subtype, encoding != b"sowt", max(0, channels), round(rate), frame_bytes)


def _read_caf_format(body: bytes) -> SoundData:
    rate, encoding, flags, packet, _, channels, bits = struct.unpack(">d4sIIIII", body[:32])
    width = (bits + 7) // 8
    subtype = ""
    if encoding == b"lpcm" and packet == channels * width:
        subtype = (_FLOATS if flags & 1 else _INTEGERS).get(width, "")
    elif encoding in (b"ulaw", b"alaw") and packet == channels:
        subtype = encoding.decode().upper()
    hertz = round(rate) if math.isfinite(rate) and 0 <= rate < 1 << 31 else 0
    return SoundData("CAF", subtype, not flags & 2, channels, hertz, packet if subtype else 0)


def _read_au(file: BinaryIO, size: int, offset: int) -> SoundData | None:
    file.seek(offset)
    head = file.read(24)
    if len(head) < 24:
        return None
    start, length, encoding, rate, channels = struct.unpack(">5I", head[4:])
    subtype, width = {
        1: ("ULAW", 1), 2: ("PCM_S8", 1), 3: ("PCM_16", 2), 4: ("PCM_24", 3), 5: ("PCM_32", 4), 6: ("FLOAT", 4), 7: ("DOUBLE", 8),
        27: ("ALAW", 1),
    }.get(encoding, ("", 0))  # fmt: skip
    start += offset
    if not subtype or start >= size or not 0 < channels < 1 << 16:
        return None
    placeholder = any(low <= length <= high for low, high in _PLACEHOLDERS)
    missing = 0 if placeholder else max(0, length - (size - start))
    found = SoundData("AU", subtype, True, channels, rate, channels * width, (), ((start, size - start),), missing)
    return replace(found, believed=length == size - start)
