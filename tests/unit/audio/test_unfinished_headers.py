"""Headers that were never finished, or tell less than the file holds: every frame that is there is read, and nothing else."""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.chunks import find_sound_data
from audiotune.audio.decode import DecodedFile, open_sound
from audiotune.errors import SoundError
from tests.fakes.foreign_sounds import RATE, wave, write_wav

LIST = b"LIST" + struct.pack("<I", 14) + b"INFOICMT\x02\0\0\0a\0"
PLACEHOLDERS = [0, 0x7FFFF000, 0x7FFFEFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def read(path: Path) -> tuple[DecodedFile, np.ndarray]:
    with open_sound(path, 4096) as file:
        return file, np.concatenate([block.copy() for block in file.blocks])


def with_size(path: Path, chunk: bytes, size: int, order: str = "<I", behind: bytes = b"") -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(chunk) + 4
    data[at : at + struct.calcsize(order)] = struct.pack(order, size)
    path.write_bytes(bytes(data) + behind)
    return path


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize(("format", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAVEX", "FLOAT"), ("WAV", "ULAW")])
def test_a_wav_whose_size_was_never_written_is_whole(tmp_path: Path, size: int, format: str, subtype: str) -> None:
    path = write_wav(tmp_path / "a.wav", subtype=subtype, format=format)
    expected = read(path)[1]
    file, frames = read(with_size(path, b"data", size))
    assert np.array_equal(frames, expected)
    assert not file.findings.ends_early
    assert "never finished" in file.findings.notes[0]


@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_an_aiff_whose_size_was_never_written_is_whole(tmp_path: Path, size: int) -> None:
    path = write_wav(tmp_path / "a.aiff", subtype="PCM_24", format="AIFF")
    assert np.array_equal(read(with_size(path, b"SSND", size, ">I"))[1], read(write_wav(path, format="AIFF"))[1])


@pytest.mark.parametrize("size", [0, (1 << 64) - 1, 5000])
def test_a_caf_whose_size_was_never_written_is_whole(tmp_path: Path, size: int) -> None:
    path = write_wav(tmp_path / "a.caf", subtype="PCM_24", format="CAF")
    expected = read(path)[1]
    assert np.array_equal(read(with_size(path, b"data", size, ">Q"))[1], expected)


@pytest.mark.parametrize(("format", "form"), [("WAV", b"data"), ("AIFF", b"SSND")])
def test_sound_behind_an_early_figure_is_read(tmp_path: Path, format: str, form: bytes) -> None:
    path = write_wav(tmp_path / "a.bin", subtype="PCM_16", format=format)
    expected = read(path)[1]
    file, frames = read(with_size(path, form, 40_000, "<I" if format == "WAV" else ">I"))
    assert np.array_equal(frames, expected)
    assert "never finished" in file.findings.notes[0]


@pytest.mark.parametrize("size", [0, 60_000, (1 << 64) - 1])
def test_an_rf64_whose_long_size_was_never_written_is_whole(tmp_path: Path, size: int) -> None:
    path = write_wav(tmp_path / "a.wav", subtype="PCM_24", format="RF64")
    data = bytearray(path.read_bytes())
    at = data.index(b"ds64") + 16
    data[at : at + 8] = struct.pack("<Q", size)
    expected = read(path)[1]
    path.write_bytes(data)
    assert np.array_equal(read(path)[1], expected)


def test_a_bw64_is_read_as_an_rf64(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", subtype="PCM_24", format="RF64")
    path.write_bytes(b"BW64" + path.read_bytes()[4:])
    assert len(read(path)[1]) == len(wave())


def write_wrapped(path: Path, behind: bytes) -> int:
    """A RIFF file over 4 GiB, a hole on the disk, whose size wrapped round. Returns its frames."""
    frames = ((1 << 32) + 6_000_000) // 6
    size = frames * 6
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, RATE * 6, 6, 24)
    head = b"RIFF" + struct.pack("<I", (size + 36) % (1 << 32)) + b"WAVE" + fmt + b"data" + struct.pack("<I", size % (1 << 32))
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + size - 6)
        file.write(b"\1\2\3\4\5\6" + behind)
    return frames


@pytest.mark.parametrize("behind", [b"", LIST])
def test_a_size_that_wrapped_at_4_gib(tmp_path: Path, behind: bytes) -> None:
    frames = write_wrapped(tmp_path / "a.wav", behind)
    data = find_sound_data(tmp_path / "a.wav", "wav")
    assert data is not None
    assert data.frames == frames
    assert not data.missing_bytes


@pytest.mark.parametrize(
    "behind",
    [
        LIST,
        b"LIST" + struct.pack("<I", 200_000) + b"x" * 200_000,
        b"\0" * 100_000,
        b"TAG" + b"x" * 125,
        b"ID3" + b"x" * 200_000,
        b"some bytes",
        b"LIST\xff\xff\0\0cut",
        b"abcd\x05\0\0\0hello\0",
    ],
)
@pytest.mark.parametrize("odd", [False, True])
def test_what_lies_behind_the_sound_is_no_sound(tmp_path: Path, behind: bytes, odd: bool) -> None:
    frames = wave(1.0, channels=1)[: RATE - odd]
    path = write_wav(tmp_path / "a.wav", frames, subtype="PCM_U8")
    data = path.read_bytes()
    start = data.index(b"data") + 8
    path.write_bytes(data[: start + len(frames)] + behind)  # without the pad byte
    file, found = read(path)
    assert len(found) == len(frames)
    assert not file.findings.ends_early


def test_an_empty_data_chunk_is_empty(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", wave()[:0])
    path.write_bytes(path.read_bytes() + LIST)
    with pytest.raises(SoundError, match="no frames"):
        read(path)


def _two_chunks(first: bytes, second: bytes) -> bytes:
    at = second.index(b"data")
    return first + second[at:]


def _joined(first: bytes, second: bytes) -> bytes:
    return first + second


@pytest.mark.parametrize("join", [_two_chunks, _joined])
def test_a_second_piece_of_sound_is_not_lost(tmp_path: Path, join: Callable[[bytes, bytes], bytes]) -> None:
    one, two = (write_wav(tmp_path / f"{n}.wav", wave(0.5, seed=n), subtype="PCM_16").read_bytes() for n in (1, 2))
    (tmp_path / "both.wav").write_bytes(join(one, two))
    file, frames = read(tmp_path / "both.wav")
    expected = np.concatenate([read(tmp_path / f"{n}.wav")[1] for n in (1, 2)])
    assert np.array_equal(frames, expected)
    assert "2 pieces of sound" in file.findings.notes[0]


def test_a_second_piece_of_another_format_is_named(tmp_path: Path) -> None:
    one = write_wav(tmp_path / "1.wav", wave(0.5), subtype="PCM_16").read_bytes()
    two = write_wav(tmp_path / "2.wav", wave(0.5), subtype="PCM_24").read_bytes()
    (tmp_path / "both.wav").write_bytes(one + two)
    file, frames = read(tmp_path / "both.wav")
    assert len(frames) == RATE // 2
    assert "left out" in file.findings.notes[0]


def test_a_compressed_wav_is_mended(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", subtype="MS_ADPCM")
    expected = sf.read(path, dtype="float32")[0]
    assert np.array_equal(read(with_size(path, b"data", 0))[1], expected)


def test_chunks_before_the_format(tmp_path: Path) -> None:
    data = write_wav(tmp_path / "a.wav", subtype="PCM_16").read_bytes()
    fmt, sound = data.index(b"fmt "), data.index(b"data")
    (tmp_path / "a.wav").write_bytes(data[:fmt] + data[sound:] + data[fmt:sound])
    assert len(read(tmp_path / "a.wav")[1]) == len(wave())


@pytest.mark.parametrize("size", [(1 << 64) - 1, (1 << 63) - 1, 1 << 40])
def test_a_chunk_that_claims_more_than_any_file_holds(tmp_path: Path, size: int) -> None:
    data = write_wav(tmp_path / "a.caf", subtype="PCM_24", format="CAF").read_bytes()
    at = data.index(b"data")
    (tmp_path / "a.caf").write_bytes(data[:at] + b"strg" + struct.pack(">Q", size) + data[at:])
    with contextlib.suppress(SoundError):
        read(tmp_path / "a.caf")
