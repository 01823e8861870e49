"""Init sounds: what is refused by the header, what decoding costs, and that reading in blocks changes no number."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings

from audiotune.audio.sound import read_sound
from audiotune.domain.generation import GenerationRequest
from services.generation.engine.init_sounds import MOST_VALUES, load_init
from services.generation.engine.request_memory import RequestMemory
from services.generation.errors import BusyError, InitAudioError
from services.generation.settings import GenerationSettings
from tests.fakes.foreign_sounds import wave, write_wav, write_with_av
from tests.fakes.fuzzed_requests import SOUND_FILES
from tests.fakes.in_process_service import ASK, URL, InProcessService
from tests.fakes.memory_store import MemoryStore

SHAPE = (44_100, 2)
MEASURED = """
import base64, resource, sys
from pathlib import Path
from services.generation.settings import GenerationSettings
from audiotune.domain.generation import GenerationRequest
from services.generation.engine.init_sounds import load_init
from tests.fakes.memory_store import MemoryStore
ask = GenerationRequest(prompt="x", init_audio=base64.b64encode(Path(sys.argv[1]).read_bytes()).decode())
small = GenerationRequest(prompt="x", init_audio=base64.b64encode(Path(sys.argv[2]).read_bytes()).decode())
load_init(GenerationSettings(), small, MemoryStore(), "ana", (44100, 2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(load_init(GenerationSettings(), ask, MemoryStore(), "ana", (44100, 2))[0].frames)
except Exception as e:
    print(type(e).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def silence(seconds: int, channels: int, rate_hz: int) -> bytes:
    """Of few kilobytes, as FLAC."""
    out = io.BytesIO()
    with sf.SoundFile(out, "w", rate_hz, channels, format="FLAC", subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(np.zeros((rate_hz, channels), np.int16))
    return out.getvalue()


def ask(data: bytes) -> GenerationRequest:
    return GenerationRequest(prompt="x", init_audio=base64.b64encode(data).decode())


@pytest.mark.parametrize(
    ("seconds", "channels", "rate_hz", "answer"),
    [(59, 8, 384_000, "InitAudioError"), (59, 8, 48_000, str(59 * 44_100)), (60, 2, 192_000, str(60 * 44_100))],
)
def test_a_small_file_of_much_silence_takes_the_memory_of_the_models_shape(
    tmp_path: Path, seconds: int, channels: int, rate_hz: int, answer: str
) -> None:
    for name, data in (("much", silence(seconds, channels, rate_hz)), ("small", silence(1, 8, 48_000))):
        (tmp_path / name).write_bytes(data)
    assert (tmp_path / "much").stat().st_size < 400_000
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "much"), str(tmp_path / "small")]
    found, grown_mb = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found == answer
    # two copies of a minute of stereo at 44.1 kHz; decoded as a whole it were 80 to 700 MB
    assert int(grown_mb) < 60


def test_what_has_too_many_values_is_refused_with_the_cure() -> None:
    with pytest.raises(InitAudioError, match=f"at most {MOST_VALUES // 8} frames of them: lower the rate, or mix channels down"):
        load_init(GenerationSettings(), ask(silence(9, 8, 384_000)), MemoryStore(), "ana", SHAPE)


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 2), (48_000, 1), (96_000, 6), (22_050, 2), (11_025, 3)])
@pytest.mark.parametrize("shape", [(44_100, 2), (16_000, 1)])
def test_blocks_give_the_numbers_of_the_whole(rate_hz: int, channels: int, shape: tuple[int, int]) -> None:
    noise = 0.3 * np.random.default_rng(1).standard_normal((3 * rate_hz + 17, channels))
    noise[: 2 * rate_hz, -1] = 0  # a mix that is chosen block by block would differ from that of the whole
    if channels == 6:
        noise[:, 3] = -noise[:, 2]
    out = io.BytesIO()
    sf.write(out, noise, rate_hz, format="WAV", subtype="FLOAT")
    sound, _ = load_init(GenerationSettings(), ask(out.getvalue()), MemoryStore(), "ana", shape)
    whole = read_sound(io.BytesIO(out.getvalue())).to_channels(shape[1]).resample(shape[0])
    assert sound is not None
    assert sound.data.shape == whole.data.shape
    assert np.abs(sound.data - whole.data).max() < 1e-6
    if channels == shape[1]:
        assert np.array_equal(sound.data, whole.data), "to the last bit"


def test_values_far_beyond_full_scale_are_no_sound() -> None:
    out = io.BytesIO()
    sf.write(out, np.full((4000, 1), 1e30), 44_100, format="WAV", subtype="FLOAT")
    with pytest.raises(InitAudioError, match="far beyond full scale"):
        load_init(GenerationSettings(), ask(out.getvalue()), MemoryStore(), "ana", SHAPE)


@settings(max_examples=300, deadline=None)
@given(SOUND_FILES)
def test_a_torn_file_is_a_sound_or_is_refused_and_nothing_else(data: bytes) -> None:
    with suppress(InitAudioError):
        sound, _ = load_init(GenerationSettings(init_s=5), ask(data), MemoryStore(), "ana", SHAPE)
        assert data == b"" or (sound is not None and sound.channels == 2 and 0 < sound.duration_s < 6)


def test_memory_is_taken_before_the_sound_is_decoded() -> None:
    asked: list[int] = []

    def refuse(size: int) -> None:
        asked.append(size)
        raise BusyError("no room")

    with pytest.raises(BusyError):
        load_init(GenerationSettings(), ask(silence(30, 2, 48_000)), MemoryStore(), "ana", SHAPE, refuse)
    assert asked == [30 * 44_100 * 2 * 4]


def test_one_member_fills_half_of_the_memory_and_all_of_it_comes_back() -> None:
    memory = RequestMemory(10e6)
    with memory.open_share("ana") as one, memory.open_share("ana") as two, memory.open_share("ben") as other:
        one.take(4_000_000)
        with pytest.raises(BusyError):
            two.take(2_000_000)
        two.take(1000)  # so little is not counted
        other.take(5_000_000)
        assert memory.taken_bytes == 9_000_000
    assert memory.taken_bytes == 0


def test_requests_that_would_fill_the_memory_are_told_when_to_come_back(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, body_mb=1, init_s=1)
    bench.loaded()
    text = base64.b64encode(silence(1, 1, 44_100) + bytes(600_000)).decode()
    assert bench.client.post(URL, json={**ASK, "init_audio": text}).status_code == 200
    with bench.context.request_memory.open_share("anyone") as share:
        share.take(2_000_000)
        full = bench.client.post(URL, json={**ASK, "init_audio": text})
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (429, "busy", "2")
        chunked = bench.client.post(URL, content=(b" " * 100_000 for _ in range(9)), headers={"content-type": "application/json"})
        assert (chunked.status_code, chunked.json()["code"]) == (429, "busy")
        assert bench.post().status_code == 200
    assert bench.context.request_memory.taken_bytes == 0
    bench.stop()


def test_a_jobs_body_is_refused_by_its_length_before_it_is_read(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path)
    bench.loaded()
    headers = {"content-type": "application/json", "content-length": "9000000"}
    for answer in (
        bench.client.put("/v1/jobs/job-00001", content=b"{}", headers=headers),
        bench.client.post(URL, content=b"{}", headers={**headers, "prefer": "respond-async"}),
    ):
        assert answer.status_code == 413
        assert answer.json()["errors"] == [{"field": "body", "message": "at most 8100000 bytes"}]
    bench.stop()


@pytest.mark.parametrize(("codec", "container"), [("aac", "ipod"), ("aac", "adts"), ("libopus", "webm"), ("libopus", "ogg")])
def test_what_phones_and_browsers_record_is_decoded(tmp_path: Path, codec: str, container: str) -> None:
    data = write_with_av(tmp_path / "a", codec, container, wave(2.0)).read_bytes()
    sound, _ = load_init(GenerationSettings(), ask(data), MemoryStore(), "ana", SHAPE)
    assert sound is not None
    assert sound.duration_s == pytest.approx(2.0, abs=0.1)
    assert sound.peak_dbfs > -20


def test_a_stream_without_a_length_is_bounded(tmp_path: Path) -> None:
    data = write_with_av(tmp_path / "a", "mp2", "mp2", wave(3.0)).read_bytes()
    with pytest.raises(InitAudioError, match="longer than 2 s"):
        load_init(GenerationSettings(init_s=2), ask(data), MemoryStore(), "ana", SHAPE)


def test_channels_beyond_two_are_heard(tmp_path: Path) -> None:
    frames = wave(1.0, channels=4)
    frames[:, :2] = 0
    data = write_wav(tmp_path / "a.wav", frames, subtype="FLOAT").read_bytes()
    sound, _ = load_init(GenerationSettings(), ask(data), MemoryStore(), "ana", (48_000, 2))
    assert sound is not None
    assert np.array_equal(sound.data.T, frames[:, 2:])
