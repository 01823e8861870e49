"""Headers of MPEG audio frames (MP3, MP2, AAC in ADTS): how long a frame is, and how many frames a Xing or VBRI header names.

Sources: ISO/IEC 11172-3 and 13818-3, 2.4.2.3 (MPEG audio), 13818-7, 6.2 (ADTS); Xing and VBRI headers have no standard, see
G. Bouvigne, "MP3 Info Tag revision 1".
"""

import struct
from dataclasses import dataclass

_V1 = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_V2 = (
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    *((8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),) * 2,
)
_RATES_HZ = (44_100, 48_000, 32_000)


@dataclass(frozen=True)
class MpegHeader:
    """One frame: its layer (1 to 3), rate, length in bytes (0 in the free format, where no header tells it), and samples."""

    layer: int
    sample_rate_hz: int
    bytes: int
    samples: int


def parse_mpeg_header(data: bytes) -> MpegHeader | None:
    """The header in the first four bytes; None when they are none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbit, rate = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3), data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer == 4 or kbit == 15 or rate == 3:
        return None
    hertz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    if not kbit:
        return MpegHeader(layer, hertz, 0, samples)
    bits_per_second = 1000 * (_V1 if version == 3 else _V2)[layer - 1][kbit - 1]
    padding = data[2] >> 1 & 1
    if layer == 1:
        return MpegHeader(layer, hertz, (12 * bits_per_second // hertz + padding) * 4, samples)
    return MpegHeader(layer, hertz, samples // 8 * bits_per_second // hertz + padding, samples)


def is_mpeg_audio_start(head: bytes) -> bool:
    """Whether frames of one layer and rate follow each other from the first byte on; one frame alone may be chance."""
    first = parse_mpeg_header(head)
    if first is None:
        return False
    if first.bytes:
        return _is_alike(first, head[first.bytes :])
    step = head.find(head[:2], 24)  # free format: all frames have one length, give or take a byte
    return step > 0 and all(
        any(_is_alike(first, head[times * step + byte :]) for byte in range(-times, times + 1)) for times in (1, 2, 3)
    )


def _is_alike(first: MpegHeader, data: bytes) -> bool:
    other = parse_mpeg_header(data)
    return other is not None and (other.layer, other.sample_rate_hz) == (first.layer, first.sample_rate_hz)


def read_adts_length(data: bytes) -> int | None:
    """The length in bytes of an ADTS frame; None when the first bytes are no ADTS header."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or (data[2] >> 2 & 15) > 12:
        return None
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return length if length >= 7 else None


def is_adts_start(head: bytes) -> bool:
    """Whether two ADTS frames follow each other from the first byte on."""
    length = read_adts_length(head)
    return length is not None and (len(head) == length or read_adts_length(head[length:]) is not None)


def is_incomplete_frame(packet: bytes) -> bool:
    """Whether a packet of an MP3 or ADTS stream is shorter than its own header says: the file ends inside it."""
    header = parse_mpeg_header(packet)
    length = read_adts_length(packet) or (header.bytes if header else 0)
    return len(packet) < length


def read_promised_samples(head: bytes) -> tuple[int, int] | None:
    """Samples that a Xing, Info or VBRI header in the first frame promises, and samples in one frame; None without such a header."""
    header = parse_mpeg_header(head)
    if header is None or header.layer != 3:
        return None
    frame = head[: max(header.bytes, 200)]
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int(struct.unpack(">I", frame[50:54])[0]) * header.samples, header.samples
    at = max(frame.find(b"Xing", 0, 60), frame.find(b"Info", 0, 60))
    if at < 0 or len(frame) < at + 12 or not frame[at + 7] & 1:
        return None
    return int(struct.unpack(">I", frame[at + 8 : at + 12])[0]) * header.samples, header.samples
