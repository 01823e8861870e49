"""Every format decodes to the frames that were encoded; cut, empty and other files are refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.chunks import find_sound_data
from audiotune.audio.decode import DecodeFindings, open_sound
from audiotune.errors import SoundError
from tests.fakes.foreign_sounds import RATE, cut_short, wave, write_huge_rf64, write_silent_film, write_wav, write_with_av

# file name, soundfile subtype and format, bit depth, what comes out, greatest error
PLAIN = [
    ("a.wav", "PCM_16", "WAV", 16, 1e-4),
    ("a.wav", "PCM_24", "WAV", 24, 1e-6),
    ("a.wav", "PCM_32", "WAV", 32, 1e-7),
    ("a.wav", "FLOAT", "WAV", 32, 0),
    ("a.wav", "PCM_24", "RF64", 24, 1e-6),
    ("a.aiff", "PCM_24", "AIFF", 24, 1e-6),
    ("a.flac", "PCM_24", "FLAC", 24, 1e-6),
    ("a.ogg", "VORBIS", "OGG", None, 0.1),
    ("a.mp3", "MPEG_LAYER_III", "MP3", None, 0.1),
]


def decoded(path: Path, block_frames: int = 4096) -> tuple[str, int | None, np.ndarray]:
    with open_sound(path, block_frames) as file:
        return file.format, file.bit_depth, np.concatenate([block.copy() for block in file.blocks])


@pytest.mark.parametrize(("name", "subtype", "format", "bits", "error"), PLAIN)
def test_soundfile_formats(tmp_path: Path, name: str, subtype: str, format: str, bits: int | None, error: float) -> None:
    path = write_wav(tmp_path / name, subtype=subtype, format=format)
    kind, depth, frames = decoded(path)
    assert kind == f"{format} {subtype}"
    assert depth == bits
    assert frames.shape == wave().shape
    assert np.abs(frames - wave()).max() <= error


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_plain_wav_is_read_as_libsndfile_reads_it(tmp_path: Path, subtype: str, format: str, channels: int) -> None:
    frames = np.random.default_rng(1).integers(-(2**31), 2**31, (10_001, channels), dtype=np.int32)
    frames[:2] = [[-(2**31)], [2**31 - 1]]
    sf.write(tmp_path / "a.wav", frames, RATE, subtype=subtype, format=format)
    content = (tmp_path / "a.wav").read_bytes()
    at = content.index(b"data")  # a chunk of odd length before the sound, as recorders write them
    (tmp_path / "a.wav").write_bytes(content[:at] + b"iXML\x03\0\0\0abc\0" + content[at:])
    data = find_sound_data(tmp_path / "a.wav", "wav")
    assert data is not None
    assert data.extents == ((at + 12 + 8, 10_001 * channels * int(subtype[-2:]) // 8),)
    assert data.believed
    expected = sf.read(tmp_path / "a.wav", dtype="float32", always_2d=True)[0]
    assert np.array_equal(decoded(tmp_path / "a.wav")[2], expected)


@pytest.mark.parametrize(
    ("name", "codec", "container", "picture"),
    [
        ("a.m4a", "aac", "ipod", False),
        ("a.m4a", "alac", "ipod", False),
        ("a.opus", "libopus", "ogg", False),
        ("a.mka", "libopus", "matroska", False),
        ("film.mp4", "aac", "mp4", True),
    ],
)
def test_pyav_formats(tmp_path: Path, name: str, codec: str, container: str, picture: bool) -> None:
    path = write_with_av(tmp_path / name, codec, container, picture=picture)
    _, _, frames = decoded(path)
    assert frames.shape[1] == 2
    assert abs(len(frames) - len(wave())) < RATE // 10
    assert 0.5 < frames.std() / wave().std() < 1.2


def read_findings(path: Path) -> tuple[int, DecodeFindings]:
    with open_sound(path) as file:
        return sum(len(block) for block in file.blocks), file.findings


@pytest.mark.parametrize(("subtype", "format"), [(p[1], p[2]) for p in PLAIN])
def test_a_file_that_was_cut_is_read_to_where_it_breaks(tmp_path: Path, subtype: str, format: str) -> None:
    path = cut_short(write_wav(tmp_path / "cut.bin", wave(5.0), subtype=subtype, format=format))
    frames, findings = read_findings(path)
    assert findings.ends_early
    assert findings.notes[0].startswith("ends early: ")
    assert 2.5 * RATE < frames < 3.6 * RATE
    whole = write_wav(tmp_path / "whole.bin", wave(5.0), subtype=subtype, format=format)
    assert not read_findings(whole)[1].ends_early


@pytest.mark.parametrize(("codec", "container"), [("libopus", "ogg"), ("libopus", "matroska"), ("aac", "adts"), ("mp2", "mp2")])
def test_a_foreign_file_that_was_cut_is_read_to_where_it_breaks(tmp_path: Path, codec: str, container: str) -> None:
    path = cut_short(write_with_av(tmp_path / "cut.bin", codec, container, wave(5.0)))
    frames, findings = read_findings(path)
    assert findings.ends_early
    assert 1.5 * RATE < frames < 3.7 * RATE
    assert not read_findings(write_with_av(tmp_path / "whole.bin", codec, container, wave(5.0)))[1].ends_early


@pytest.mark.parametrize(("subtype", "format"), [(p[1], p[2]) for p in PLAIN])
def test_less_than_a_second_of_a_cut_file_is_refused(tmp_path: Path, subtype: str, format: str) -> None:
    path = cut_short(write_wav(tmp_path / "cut.bin", wave(1.4), subtype=subtype, format=format))
    with pytest.raises(SoundError, match="cut short: 0"):
        read_findings(path)


def test_an_mp4_without_its_table_of_contents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="table of contents is missing"):
        read_findings(cut_short(write_with_av(tmp_path / "cut.bin", "aac", "ipod", wave(5.0))))


def test_a_damaged_place_is_left_out_and_said(tmp_path: Path) -> None:
    """Bits turned over in the middle of a FLAC file: the frame's checksum tells."""
    data = bytearray(write_wav(tmp_path / "a.flac", wave(5.0), subtype="PCM_24", format="FLAC").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(255 - b for b in data[middle : middle + 64])
    (tmp_path / "a.flac").write_bytes(data)
    frames, findings = read_findings(tmp_path / "a.flac")
    assert 4 * RATE < frames < 5 * RATE
    assert "damaged place" in " ".join(findings.notes)
    assert not findings.ends_early


def test_the_suffix_is_not_believed(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", subtype="PCM_16", format="FLAC")
    with open_sound(path) as file:
        assert file.format == "FLAC PCM_16"
        assert file.suffix == ".flac"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello, this is no sound at all\n" * 100, "no sound file"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "no sound file"),
        (bytes(range(256)) * 50, "no sound file"),
    ],
)
def test_a_file_that_is_no_sound_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(SoundError, match=words):
        decoded(path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="only pictures"):
        decoded(write_silent_film(tmp_path / "film.mp4"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_placed(tmp_path: Path, bad: float) -> None:
    frames = wave(3.0)
    frames[2 * RATE + 5] = bad
    with pytest.raises(SoundError, match=r"near [12]\.\d s"):
        decoded(write_wav(tmp_path / "a.wav", frames, subtype="FLOAT"))


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="no frames"):
        decoded(write_wav(tmp_path / "a.wav", np.zeros((0, 1), np.float32)))


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    """Recorders and pipes that cannot go back leave 0xFFFFFFFF as the length."""
    path = write_wav(tmp_path / "a.wav", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(decoded(path)[2]) == len(wave())


def test_rf64_over_4_gib_opens_with_all_its_frames(tmp_path: Path) -> None:
    """A hole on the disk: only the header and the last second are read."""
    frames = write_huge_rf64(tmp_path / "huge.wav")
    with open_sound(tmp_path / "huge.wav") as file:
        assert file.promised_frames == frames
        assert len(next(file.blocks)) > 0
    assert frames * 6 > 1 << 32
    end, _ = sf.read(tmp_path / "huge.wav", start=frames - RATE)
    assert len(end) == RATE


def test_rf64_that_was_cut(tmp_path: Path) -> None:
    frames = write_huge_rf64(tmp_path / "huge.wav")
    with (tmp_path / "huge.wav").open("r+b") as file:
        file.truncate(4 << 30)
    with open_sound(tmp_path / "huge.wav") as file:
        assert file.findings.ends_early
        assert file.promised_frames == frames
