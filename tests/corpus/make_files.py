"""More than 300 sound files, made on the spot: formats, headers that were never finished, tags, joined streams, and damage.

python -m tests.corpus.make_files FOLDER
"""

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
import soundfile as sf

from audiotune.audio.mpeg_frames import parse_mpeg_header

Fate = Literal["whole", "ends early", "refused"]
SECONDS = 1.5
ID3V2 = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
ID3V1 = b"TAG" + b"x" * 125


@dataclass(frozen=True)
class MadeFile:
    """One file of the set.

    Attributes:
        fate: what must become of it.
        frames: how many are in it; None where the encoder decides (then FFmpeg is asked).
        slack: how many frames it may have more or fewer.
        judged: whether FFmpeg reads it as it must be read.
    """

    path: Path
    fate: Fate = "whole"
    frames: int | None = None
    slack: int = 0
    judged: bool = True


def sound(rate: int = 44_100, channels: int = 2, seconds: float = SECONDS) -> np.ndarray:
    """A tone of its own in each channel, float32 [frames, channels]."""
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * 110 * (c + 2) * t) for c in range(channels)], axis=1).astype(np.float32)


def make_files(folder: Path) -> Iterator[MadeFile]:
    folder.mkdir(parents=True, exist_ok=True)
    yield from _make_plain(folder)
    yield from _make_encoded(folder)
    yield from _make_unfinished(folder)
    yield from _make_tagged(folder)
    yield from _make_joined(folder)
    yield from _make_cut(folder)
    yield from _make_others(folder)


def write_plain(path: Path, format: str, subtype: str, rate: int = 44_100, channels: int = 2, seconds: float = SECONDS) -> Path:
    with sf.SoundFile(path, "w", rate, channels, subtype, format=format) as file:
        frames = sound(rate, channels, seconds)
        for start in range(0, len(frames), 8192):
            file.write(frames[start : start + 8192])
    return path


def write_encoded(path: Path, codec: str, container: str, rate: int = 48_000, layout: str = "stereo", tracks: int = 1) -> Path:
    with av.open(str(path), "w", format=container) as out:
        streams = [out.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]
        for stream in streams:
            channels = len(stream.codec_context.layout.channels)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound(rate, channels).T), format="fltp", layout=layout)
            frame.rate = rate
            resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
    return path


def _make_plain(folder: Path) -> Iterator[MadeFile]:
    kinds = [
        ("WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        ("WAVEX", ("PCM_16", "PCM_24", "FLOAT")), ("RF64", ("PCM_16", "PCM_24", "FLOAT")),
        ("AIFF", ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")), ("CAF", ("PCM_16", "PCM_24", "FLOAT", "ALAW")),
        ("AU", ("PCM_16", "PCM_24", "FLOAT", "ULAW")), ("W64", ("PCM_16", "PCM_24")), ("FLAC", ("PCM_S8", "PCM_16", "PCM_24")),
    ]  # fmt: skip
    for format, subtypes in kinds:
        for subtype in subtypes:
            for channels in (1, 2, 3, 6):
                for rate in (24_000, 48_000) if channels < 3 else (48_000,):
                    name = folder / f"{format}-{subtype}-{channels}-{rate}.bin"
                    write_plain(name, format, subtype, rate, channels)
                    yield MadeFile(name, frames=round(SECONDS * rate))


def _make_encoded(folder: Path) -> Iterator[MadeFile]:
    for subtype in ("VORBIS", "OPUS"):
        for channels in (1, 2, 6):
            yield MadeFile(write_plain(folder / f"ogg-{subtype}-{channels}", "OGG", subtype, 48_000, channels))
    for rate in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        for channels in (1, 2):
            path = write_plain(folder / f"mp3-{rate}-{channels}", "MP3", "MPEG_LAYER_III", rate, channels)
            yield MadeFile(path, frames=round(SECONDS * rate), slack=1152)
    for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610"):
        rate, channels = (8_000, 1) if subtype == "GSM610" else (44_100, 2)
        yield MadeFile(write_plain(folder / f"wav-{subtype}", "WAV", subtype, rate, channels), slack=2048)
    for codec, container, layout in (
        ("aac", "ipod", "stereo"), ("aac", "ipod", "mono"), ("aac", "ipod", "5.1"), ("aac", "adts", "stereo"), ("aac", "adts", "mono"),
        ("aac", "adts", "5.1"), ("aac", "matroska", "stereo"), ("aac", "mpegts", "stereo"), ("alac", "ipod", "stereo"),
        ("mp2", "mp2", "stereo"), ("mp2", "mp2", "mono"), ("libmp3lame", "wav", "stereo"), ("libmp3lame", "matroska", "stereo"),
        ("libopus", "ogg", "5.1"), ("libopus", "webm", "stereo"), ("libopus", "matroska", "mono"), ("ac3", "ac3", "stereo"),
        ("wavpack", "wv", "stereo"),
        ("tta", "tta", "stereo"), ("pcm_s16le", "mov", "stereo"), ("pcm_s24le", "matroska", "stereo"), ("pcm_s16be", "aiff", "5.1"),
        ("pcm_s16le", "caf", "stereo"),
    ):  # fmt: skip
        yield MadeFile(write_encoded(folder / f"av-{codec}-{container}-{layout}", codec, container, layout=layout))
    for container in ("mp4", "matroska", "mov"):
        for tracks in (2, 3):
            yield MadeFile(write_encoded(folder / f"tracks-{container}-{tracks}", "aac", container, tracks=tracks))


def _patched(path: Path, chunk: bytes, size: int, order: str) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(chunk) + 4
    data[at : at + struct.calcsize(order)] = struct.pack(order, size)
    path.write_bytes(data)
    return path


def _make_unfinished(folder: Path) -> Iterator[MadeFile]:
    frames = round(SECONDS * 44_100)
    sizes = (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 24_000)
    for format, chunk, order in (("WAV", b"data", "<I"), ("WAVEX", b"data", "<I"), ("AIFF", b"SSND", ">I")):
        for subtype in ("PCM_16", "PCM_24", "FLOAT"):
            for size in sizes:
                path = write_plain(folder / f"unfinished-{format}-{subtype}-{size:x}", format, subtype)
                yield MadeFile(_patched(path, chunk, size, order), frames=frames, judged=False)
    for size in (0, 24_000, (1 << 64) - 1, (1 << 63) - 1):
        path = write_plain(folder / f"unfinished-CAF-{size:x}", "CAF", "PCM_24")
        yield MadeFile(_patched(path, b"data", size, ">Q"), frames=frames, judged=False)
        path = write_plain(folder / f"unfinished-RF64-{size:x}", "RF64", "PCM_24")
        data = bytearray(path.read_bytes())
        data[28:36] = struct.pack("<Q", size)
        path.write_bytes(data)
        yield MadeFile(path, frames=frames, judged=False)
    for size in (0, 0xFFFFFFFF, 24_000):
        path = write_plain(folder / f"unfinished-AU-{size:x}", "AU", "PCM_16")
        data = bytearray(path.read_bytes())
        data[8:12] = struct.pack(">I", size)
        path.write_bytes(data)
        yield MadeFile(path, frames=frames, judged=False)


def _make_tagged(folder: Path) -> Iterator[MadeFile]:
    list_chunk = b"LIST" + struct.pack("<I", 14) + b"INFOICMT\x02\0\0\0a\0"
    for format, subtype in (
        ("WAV", "PCM_16"),
        ("AIFF", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "VORBIS"),
    ):
        for what, before, behind in (
            ("id3v1", b"", ID3V1), ("id3v2", ID3V2, b""), ("two-id3v2", ID3V2 * 2, b""), ("both", ID3V2, ID3V1),
            ("zeros", b"", bytes(3000)), ("list", b"", list_chunk),
        ):  # fmt: skip
            if (format in ("MP3", "OGG", "FLAC") and what in ("list",)) or (format == "OGG" and before):
                continue
            path = write_plain(folder / f"tagged-{format}-{what}", format, subtype)
            path.write_bytes(before + path.read_bytes() + behind)
            frames = None if format == "OGG" else round(SECONDS * 44_100)
            yield MadeFile(path, frames=frames, slack=1152 if format == "MP3" else 0, judged=False)


def _make_joined(folder: Path) -> Iterator[MadeFile]:
    for mode in ("CONSTANT", "VARIABLE", "AVERAGE"):
        for channels in (1, 2):
            path = folder / f"mp3-without-count-{mode}-{channels}"
            with sf.SoundFile(path, "w", 44_100, channels, format="MP3", bitrate_mode=mode, compression_level=0.2) as file:
                file.write(sound(channels=channels))
            data = path.read_bytes()
            header = parse_mpeg_header(data)
            assert header is not None
            path.write_bytes(data[header.bytes :])
            yield MadeFile(path)
            path = folder / f"mp3-joined-{mode}-{channels}"
            path.write_bytes(data * 2)
            yield MadeFile(path, frames=2 * round(SECONDS * 44_100), slack=4 * 1152)
    flac = bytearray(write_plain(folder / "flac-unknown-length", "FLAC", "PCM_16").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (folder / "flac-unknown-length").write_bytes(flac)
    yield MadeFile(folder / "flac-unknown-length", frames=round(SECONDS * 44_100))
    flac[22:26] = struct.pack(">I", 20_000)
    (folder / "flac-early-count").write_bytes(flac)
    yield MadeFile(folder / "flac-early-count", frames=round(SECONDS * 44_100))
    for one, other in (("VORBIS", "VORBIS"), ("OPUS", "OPUS"), ("VORBIS", "OPUS")):
        for channels in (1, 2):
            first = write_plain(folder / "first", "OGG", one, 48_000, 2).read_bytes()
            second = write_plain(folder / "second", "OGG", other, 48_000, channels).read_bytes()
            path = folder / f"chained-{one}-{other}-{channels}"
            path.write_bytes(first + second)
            yield MadeFile(path, frames=2 * round(SECONDS * 48_000), slack=1000, judged=False)
    wav = write_plain(folder / "first", "WAV", "PCM_16").read_bytes()
    for name, more in (("wav-two-data-chunks", wav[wav.index(b"data") :]), ("wav-joined", wav)):
        (folder / name).write_bytes(wav + more)
        yield MadeFile(folder / name, frames=2 * round(SECONDS * 44_100), judged=False)
    for name in ("first", "second"):
        (folder / name).unlink()


def _make_cut(folder: Path) -> Iterator[MadeFile]:
    kinds: tuple[tuple[str, Callable[[Path], Path]], ...] = (
        *((f"{f}-{s}", lambda p, f=f, s=s: write_plain(p, f, s, seconds=3.0))
          for f, s in (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_24"), ("AIFF", "PCM_16"), ("CAF", "PCM_24"),
                       ("AU", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))),
        *((f"{c}-{k}", lambda p, c=c, k=k: write_encoded(p, c, k)) for c, k in (("aac", "adts"), ("mp2", "mp2"))),
    )  # fmt: skip
    for name, write in kinds:
        whole = write(folder / "whole").read_bytes()
        for percent in (20, 50, 70, 90):
            path = folder / f"cut-{name}-{percent}"
            path.write_bytes(whole[: len(whole) * percent // 100])
            early: Fate = "ends early" if percent > (60 if name in ("aac-adts", "mp2-mp2", "OGG-VORBIS") else 40) else "refused"
            yield MadeFile(path, early, judged=False)
    (folder / "whole").unlink()


def _make_others(folder: Path) -> Iterator[MadeFile]:
    for name, content in (
        ("empty", b""), ("text", b"Read me first.\n" * 50),
        ("page.wav", b"<!DOCTYPE html><html>Sign in</html>"), ("zip", b"PK\x03\x04" + bytes(50)),
        ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(50)), ("rar", b"Rar!\x1a\x07\0" + bytes(50)), ("zeros", bytes(5000)),
        ("noise", np.random.default_rng(1).bytes(20_000)), ("dsf", b"DSD " + bytes(100)), ("header", b"RIFF\x24\0\0\0WAVEfmt "),
    ):  # fmt: skip
        (folder / name).write_bytes(content)
        yield MadeFile(folder / name, "refused", judged=False)


if __name__ == "__main__":
    print(sum(1 for _ in make_files(Path(sys.argv[1]))), "files")
