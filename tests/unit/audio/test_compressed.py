"""Streams without a length, joined streams and several sound tracks: all that sounds is decoded, as long as FFmpeg finds it."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.decode import DecodedFile, open_sound
from audiotune.audio.mpeg_frames import parse_mpeg_header, read_promised_samples
from tests.fakes.foreign_sounds import RATE, wave, write_wav, write_with_av


def read(path: Path) -> tuple[DecodedFile, np.ndarray]:
    with open_sound(path) as file:
        return file, np.concatenate([block.copy() for block in file.blocks])


def write_mp3(path: Path, seconds: float, seed: int = 0, channels: int = 2, rate: int = RATE, mode: str = "CONSTANT") -> bytes:
    """Loud noise at first, then a chord: of a variable rate the first part says nothing about the whole."""
    frames = wave(seconds, channels, seed, rate)
    frames[: rate // 2] += np.random.default_rng(seed).normal(0, 0.1, (min(rate // 2, len(frames)), channels)).astype(np.float32)
    with sf.SoundFile(path, "w", rate, channels, format="MP3", bitrate_mode=mode, compression_level=0.3) as file:
        file.write(frames)
    return path.read_bytes()


def without_xing(data: bytes) -> bytes:
    header = parse_mpeg_header(data)
    assert header is not None
    assert read_promised_samples(data[:4096])
    return data[header.bytes :]


def find_tone(frames: np.ndarray, hertz: float) -> float:
    t = np.arange(len(frames)) / RATE
    return float(2 * np.abs(np.exp(-2j * np.pi * hertz * t) @ frames.mean(axis=1)) / len(frames))


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x02\0" + b"\0" * 256])
def test_an_mp3_without_a_count_is_read_to_its_end(tmp_path: Path, mode: str, tag: bytes) -> None:
    data = without_xing(write_mp3(tmp_path / "a.mp3", 10.0, mode=mode))
    (tmp_path / "a.mp3").write_bytes(tag + data)
    file, frames = read(tmp_path / "a.mp3")
    assert abs(len(frames) - 10 * RATE) < 3 * 1152
    assert file.promised_frames is None
    assert not file.findings.ends_early


@pytest.mark.parametrize("second", [{}, {"channels": 1}, {"rate": 44_100}], ids=["alike", "mono", "other rate"])
def test_joined_mp3s_are_read_to_their_end(tmp_path: Path, second: dict[str, int]) -> None:
    data = write_mp3(tmp_path / "1.mp3", 2.0, 1) + write_mp3(tmp_path / "2.mp3", 3.0, 2, **second)
    (tmp_path / "joined.mp3").write_bytes(data)
    file, frames = read(tmp_path / "joined.mp3")
    assert abs(len(frames) - 5 * RATE) < 6 * 1152
    assert frames.shape[1] == 2
    assert np.abs(frames[3 * RATE :]).max() > 0.01
    assert not file.findings.ends_early


@pytest.mark.parametrize(
    ("codec", "container", "format"),
    [("mp2", "mp2", "MP3 MPEG_LAYER_II"), ("aac", "adts", "AAC AAC"), ("libmp3lame", "wav", "WAV MPEG_LAYER_III")],
)
def test_streams_without_a_length(tmp_path: Path, codec: str, container: str, format: str) -> None:
    file, frames = read(write_with_av(tmp_path / "a.bin", codec, container, wave(3.0)))
    assert file.format == format
    assert abs(len(frames) - 3 * RATE) < 4 * 1152
    assert not file.findings.ends_early


@pytest.mark.parametrize("kind", ["unknown length", "ID3v1 behind", "zeros behind", "ID3v2 before", "ID3v1 and unknown length"])
def test_flac_is_read_to_its_last_frame(tmp_path: Path, kind: str) -> None:
    path = write_wav(tmp_path / "a.flac", subtype="PCM_24", format="FLAC")
    expected = sf.read(path, dtype="float32")[0]
    data = bytearray(path.read_bytes())
    if "unknown length" in kind:
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    tag = b"TAG" + b"x" * 125 if "ID3v1" in kind else bytes(5000) if kind == "zeros behind" else b""
    head = b"ID3\x04\0\0\0\0\x01\0" + bytes(128) if kind == "ID3v2 before" else b""
    path.write_bytes(head + data + tag)
    file, frames = read(path)
    assert np.array_equal(frames, expected)
    assert (file.format, file.bit_depth) == ("FLAC PCM_24", 24)
    assert file.findings.notes == []


def chain(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("subtypes", [("VORBIS", "VORBIS"), ("OPUS", "OPUS"), ("OPUS", "VORBIS")])
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (48_000, 1), (24_000, 1)])
def test_a_chained_ogg_is_read_link_by_link(tmp_path: Path, subtypes: tuple[str, str], rate: int, channels: int) -> None:
    one = write_wav(tmp_path / "1.ogg", wave(2.0, seed=1), subtype=subtypes[0], format="OGG").read_bytes()
    other = wave(3.0, channels, seed=2, rate=rate)
    two = write_wav(tmp_path / "2.ogg", other, rate, subtype=subtypes[1], format="OGG").read_bytes()
    file, frames = read(chain(tmp_path / "both.ogg", one, two))
    assert abs(len(frames) - 5 * RATE) < 1000
    assert frames.shape[1] == 2
    assert np.abs(frames[round(2.1 * RATE) : 3 * RATE]).max() > 0.05
    assert "2 streams" in file.findings.notes[0]
    assert not file.findings.ends_early


def test_a_chained_ogg_whose_last_link_was_cut(tmp_path: Path) -> None:
    parts = [write_wav(tmp_path / f"{n}.ogg", wave(3.0, seed=n), subtype="VORBIS", format="OGG").read_bytes() for n in (1, 2)]
    file, frames = read(chain(tmp_path / "both.ogg", parts[0], parts[1][: len(parts[1]) // 2]))
    assert 3.5 * RATE < len(frames) < 5.5 * RATE
    assert file.findings.ends_early


def write_tracks(path: Path, tones_hz: list[float], seconds: list[float]) -> Path:
    """A film's sound: one stereo track for each tone."""
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else "mp4") as out:
        streams = [out.add_stream("aac", rate=RATE, layout="stereo") for _ in tones_hz]
        for stream, hertz, length in zip(streams, tones_hz, seconds):
            t = np.arange(round(RATE * length)) / RATE
            tone = (0.3 * np.sin(2 * np.pi * hertz * t) * 32767).astype(np.int16).repeat(2)[None]
            sound = av.AudioFrame.from_ndarray(tone, format="s16", layout="stereo")
            sound.rate = RATE
            out.mux(stream.encode(sound))
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_every_sound_track_is_heard(tmp_path: Path, name: str) -> None:
    file, frames = read(write_tracks(tmp_path / name, [220.0, 700.0], [2.0, 3.0]))
    assert frames.shape[1] == 4
    assert abs(len(frames) - 3 * RATE) < 4000
    assert find_tone(frames[: 2 * RATE, :2], 220) > 0.25
    assert find_tone(frames[:, 2:], 700) > 0.25
    assert "2 sound tracks" in file.findings.notes[0]


@pytest.mark.parametrize(("codec", "container"), [("libopus", "ogg"), ("aac", "adts"), ("flac", "flac"), ("ac3", "ac3")])
def test_surround_keeps_its_speakers(tmp_path: Path, codec: str, container: str) -> None:
    """Opus and Vorbis store 5.1 in another order than WAV: each tone is found under its speaker's name."""
    t = np.arange(2 * RATE) / RATE
    hertz = {"FL": 300, "FR": 400, "FC": 500, "LFE": 50, "BL": 700, "BR": 800}
    frames = np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in hertz.values()]).astype(np.float32)
    with av.open(str(tmp_path / "a.bin"), "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE, layout="5.1(side)" if codec == "ac3" else "5.1")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=stream.codec_context.layout, rate=RATE)
        sound = av.AudioFrame.from_ndarray(frames, format="fltp", layout="5.1")
        sound.rate = RATE
        for part in (*resampler.resample(sound), *resampler.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    assert_speakers(tmp_path / "a.bin", hertz)


def test_vorbis_keeps_its_speakers(tmp_path: Path) -> None:
    """Vorbis stores 5.1 as left, centre, right, back left, back right, LFE; libsndfile writes the channels as they come."""
    hertz = {"FL": 300, "FC": 500, "FR": 400, "BL": 700, "BR": 800, "LFE": 50}
    t = np.arange(2 * RATE) / RATE
    frames = np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in hertz.values()], axis=1).astype(np.float32)
    with sf.SoundFile(tmp_path / "a.bin", "w", RATE, 6, "VORBIS", format="OGG") as out:
        for start in range(0, len(frames), 4096):
            out.write(frames[start : start + 4096])
    assert_speakers(tmp_path / "a.bin", hertz)


def assert_speakers(path: Path, hertz: dict[str, int]) -> None:
    file, decoded = read(path)
    names = tuple(name.replace("S", "B") for name in file.speakers)
    assert sorted(names) == sorted(hertz)
    for channel, name in enumerate(names):
        tone = find_tone(decoded[:, channel : channel + 1], hertz[name])
        assert tone > 0.1, name
