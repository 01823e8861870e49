"""Sound in places of a file that few programs use: lists of sound chunks, and an offset before the first frame."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from audiotune.audio.decode import open_sound

TONE = np.round(12_000 * np.sin(np.arange(44_100) / 20)).astype(np.int16)


def read_all(path: Path) -> np.ndarray:
    with open_sound(path) as file:
        return np.concatenate([block[:, 0].copy() for block in file.blocks])


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(order + "I", len(body)) + body + bytes(len(body) % 2)


def test_a_list_of_sound_chunks_is_heard_whole(tmp_path: Path) -> None:
    data = TONE.astype("<i2").tobytes()
    pieces = chunk(b"data", data[:30_000]) + chunk(b"slnt", struct.pack("<I", 100)) + chunk(b"data", data[30_000:])
    body = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 44_100, 88_200, 2, 16)) + chunk(b"LIST", b"wavl" + pieces)
    (tmp_path / "take.wav").write_bytes(chunk(b"RIFF", body))
    assert np.array_equal(np.round(read_all(tmp_path / "take.wav") * 32_768), TONE)


def test_aiff_sound_begins_behind_its_offset(tmp_path: Path) -> None:
    rate = struct.pack(">HQ", 16383 + 15, 44_100 << 48)
    comm = struct.pack(">hIh", 1, len(TONE), 24) + rate
    wide = b"".join(struct.pack(">i", int(value) << 16)[:3] for value in TONE)
    body = b"AIFF" + chunk(b"COMM", comm, ">") + chunk(b"SSND", struct.pack(">II", 512, 0) + b"\x7f" * 512 + wide, ">")
    (tmp_path / "take.aif").write_bytes(chunk(b"FORM", body, ">"))
    assert np.array_equal(np.round(read_all(tmp_path / "take.aif") * 32_768), TONE)
