"""Sounds as files with tags inside: WAV and FLAC and OGG and MP3 by libsndfile, Opus too, in an Ogg container.

The tags hold its prompt, seed and release, and that it is synthetic.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import soundfile as sf

from audiotune.audio.sound import Sound
from audiotune.domain.generation import Format
from audiotune.errors import SoundError

_KINDS: dict[Format, tuple[str, str]] = {
    "wav": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_24"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
DEPTHS: dict[Format, tuple[int, ...]] = {"wav": (16, 24, 32), "flac": (16, 24), "mp3": (), "ogg": (), "opus": ()}
_BLOCK = 1 << 16
_OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_ID3 = {"title": "TIT2", "comment": "COMM", "copyright": "TCOP", "artist": "TPE1", "software": "TSSE"}
_TAGS = ("title", "comment", "copyright", "artist", "software")


def encode_file(sound: Sound, format: Format, tags: Mapping[str, str] | None = None, bit_depth: int | None = None) -> bytes:
    """The sound as a file; rates that a format does not support are resampled up to the next one that it does.

    Args:
        bit_depth: one of `DEPTHS[format]`, 32 is float; default 24, or what the format has.

    Raises:
        SoundError: the encoder refuses.
    """
    kind, subtype = _KINDS[format]
    if bit_depth is not None:
        subtype = "FLOAT" if bit_depth == 32 else f"PCM_{bit_depth}"
    fitted = sound.resample(_choose_rate(sound.sample_rate_hz, format))
    words = dict(tags or {})
    out = io.BytesIO()
    try:
        with sf.SoundFile(out, "w", fitted.sample_rate_hz, fitted.channels, subtype, format=kind) as file:
            for name in () if format == "mp3" else _TAGS:
                value = words.get(name, "")
                if value:
                    setattr(file, name, value.replace("\0", ""))
            for start in range(0, fitted.frames, _BLOCK):  # libsndfile's Vorbis encoder crashes on a long sound in one piece
                file.write(fitted.data[:, start : start + _BLOCK].T)
    except (sf.LibsndfileError, RuntimeError, ValueError) as e:
        raise SoundError(f"cannot encode as {format}: {e}", cure="take wav") from e
    return (_encode_id3(words) if format == "mp3" else b"") + out.getvalue()


def _encode_id3(tags: Mapping[str, str]) -> bytes:
    """An ID3v2.4 tag in UTF-8: libsndfile's own drops the copyright and marks UTF-8 as Latin-1. Spec: id3.org, 2.4.0."""
    frames = b"".join(_encode_id3_frame(_ID3[name], value) for name, value in tags.items() if name in _ID3 and value)
    return b"ID3\x04\x00\x00" + _encode_synchsafe(len(frames)) + frames if frames else b""


def _encode_id3_frame(kind: str, value: str) -> bytes:
    language = b"eng\0" if kind == "COMM" else b""
    body = b"\x03" + language + value.replace("\0", "").encode() + b"\0"
    return kind.encode() + _encode_synchsafe(len(body)) + b"\0\0" + body


def _encode_synchsafe(number: int) -> bytes:
    """Seven bits a byte, so that no size looks like the beginning of an MPEG frame."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _choose_rate(rate_hz: int, format: Format) -> int:
    known = {"opus": _OPUS_RATES_HZ, "mp3": _MP3_RATES_HZ}.get(format)
    if known is None or rate_hz in known:
        return rate_hz
    return next((rate for rate in known if rate > rate_hz), known[-1])
