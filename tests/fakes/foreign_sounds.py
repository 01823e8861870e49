"""Sound files for tests, as recorders, phones and attackers make them; generated, not stored."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 48_000


def wave(seconds: float = 1.0, channels: int = 2, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A chord with a decay, float32 [frames, channels]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hz * t + p) for hz, p in zip(rng.uniform(100, 2000, 5), rng.uniform(0, 6, 5)))
    mono = 0.08 * tones * np.exp(-1.5 * t) + 0.001 * rng.standard_normal(len(t))
    gains = np.linspace(1.0, 0.6, channels)
    return (mono[:, None] * gains).astype(np.float32)


def write_wav(
    path: Path, frames: np.ndarray | None = None, rate: int = RATE, subtype: str = "PCM_24", format: str = "WAV"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, wave() if frames is None else frames, rate, subtype=subtype, format=format)
    return path


def write_with_av(path: Path, codec: str, container: str, frames: np.ndarray | None = None, *, picture: bool = False) -> Path:
    """Through PyAV: M4A, Opus, Matroska, and video with sound."""
    import av

    data = wave() if frames is None else frames
    packed = np.ascontiguousarray((data * 32767).astype(np.int16).reshape(1, -1))
    with av.open(str(path), "w", format=container) as out:
        video = _blank_video(out) if picture else None
        stream = out.add_stream(codec, rate=RATE, layout="stereo")
        sound = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        sound.rate = RATE
        if video is not None:
            for _ in range(5):
                image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
                out.mux(video.encode(image))
            out.mux(video.encode(None))
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path


def write_silent_film(path: Path) -> Path:
    """A video without sound."""
    import av

    with av.open(str(path), "w", format="mp4") as out:
        video = _blank_video(out)
        for _ in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(video.encode(None))
    return path


def _blank_video(out: object) -> object:
    video = out.add_stream("mpeg4", rate=10)  # type: ignore[attr-defined]
    video.width = video.height = 32
    video.pix_fmt = "yuv420p"
    return video


def cut_short(path: Path, share: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def write_huge_rf64(path: Path, gib: float = 4.5) -> int:
    """An RF64 file over 4 GiB (EBU Tech 3306) that is a hole on the disk: 24 bit, stereo, 48 kHz. Returns its frames."""
    frames = int(gib * (1 << 30)) // 6
    size = frames * 6
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, size + 72, size, frames, 0)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, RATE * 6, 6, 24)
    head = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + ds64 + fmt + b"data" + struct.pack("<I", 0xFFFFFFFF)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return frames
