"""Encodes sounds as files with tags: WAV, FLAC, OGG, MP3 and, in an Ogg container, Opus, all by libsndfile."""

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


def encode_file(sound: Sound, format: Format, tags: Mapping[str, str] | None = None, bit_depth: int | None = None) -> bytes:
    """The sound as a file; a rate that the format does not have is resampled to the next higher one. Raises SoundError.

    Args:
        tags: those of title, comment, copyright, artist and software are written.
        bit_depth: one of `DEPTHS[format]`, 32 is float; default 24, or what the format has.
    """
    kind, subtype = _KINDS[format]
    if bit_depth is not None:
        subtype = "FLOAT" if bit_depth == 32 else f"PCM_{bit_depth}"
    sound = sound.resample(choose_rate(sound.sample_rate_hz, format))
    # libsndfile takes no empty text, and a prompt may consist of NULs
    texts = {name: text for name in _ID3 if tags and (text := tags.get(name, "").replace("\0", ""))}
    out = io.BytesIO()
    try:
        with sf.SoundFile(out, "w", sound.sample_rate_hz, sound.channels, subtype, format=kind) as file:
            for name, text in texts.items() if format != "mp3" else ():
                setattr(file, name, text)
            for start in range(0, sound.frames, _BLOCK):  # libsndfile's Vorbis encoder crashes on a long sound in one piece
                file.write(sound.data[:, start : start + _BLOCK].T)
    except (sf.LibsndfileError, RuntimeError, ValueError) as e:
        raise SoundError(f"cannot encode as {format}: {e}", cure="take wav") from e
    return (_encode_id3(texts) if format == "mp3" else b"") + out.getvalue()


def _encode_id3(tags: Mapping[str, str]) -> bytes:
    """An ID3v2.4 tag in UTF-8: libsndfile's own drops the copyright and marks UTF-8 as Latin-1. Spec: id3.org, 2.4.0."""
    frames = b"".join(_encode_id3_frame(_ID3[name], text) for name, text in tags.items())
    return b"ID3\x04\x00\x00" + _encode_synchsafe(len(frames)) + frames if frames else b""


def _encode_id3_frame(kind: str, text: str) -> bytes:
    language = b"eng\0" if kind == "COMM" else b""
    body = b"\x03" + language + text.encode() + b"\0"
    return kind.encode() + _encode_synchsafe(len(body)) + b"\0\0" + body


def _encode_synchsafe(number: int) -> bytes:
    """Seven bits in each byte, so that no size looks like the beginning of an MPEG frame."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def choose_rate(rate_hz: int, format: Format) -> int:
    """The rate itself where the format has it, else the next higher one that it has."""
    known = {"opus": _OPUS_RATES_HZ, "mp3": _MP3_RATES_HZ}.get(format)
    if known is None or rate_hz in known:
        return rate_hz
    return next((rate for rate in known if rate > rate_hz), known[-1])
