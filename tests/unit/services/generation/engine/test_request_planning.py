"""What can be asked of a sound beside its words: bars, key, loop, loudness, depth, init sounds, parts made anew, continuations."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.loudness import measure_integrated_lufs, measure_true_peak_dbtp
from audiotune.audio.sound import Sound, read_sound
from audiotune.domain.generation import GenerationRequest
from audiotune.stable_audio.known_bases import GenerationDefaults
from services.generation.engine.sound_files import crossfade_loop, level_loudness, measure_seam_db
from tests.fakes.in_process_service import InProcessService
from tests.fakes.sound_tags import read_tags

RATE_HZ = 44_100


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InProcessService]:
    with InProcessService(tmp_path) as made:
        yield made


def noise(seconds: float, seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    return Sound(0.1 * rng.standard_normal((1, round(seconds * RATE_HZ))).astype(np.float32), RATE_HZ)


def as_text(sound: Sound) -> str:
    return base64.b64encode(sound.to_bytes("WAV", "PCM_24")).decode()


def length_s(answer: Any) -> float:
    assert answer.status_code == 200, answer.text
    return read_sound(io.BytesIO(answer.content)).duration_s


@pytest.mark.parametrize(
    ("bars", "bpm", "signature", "seconds"),
    [(1, 120, "4/4", 2.0), (2, 90, "3/4", 4.0), (1, 120, "6/8", 1.5), (0.5, 60, "4/4", 2.0)],
)
def test_bars_are_seconds(bars: float, bpm: float, signature: str, seconds: float) -> None:
    asked = GenerationRequest(prompt="x", bars=bars, bpm=bpm, time_signature=signature)
    assert asked.length_s == pytest.approx(seconds)


def test_bars_give_the_sounds_length_and_its_tags(bench: InProcessService) -> None:
    answer = bench.post(seconds=None, bars=1, bpm=120, key="A minor")
    assert length_s(answer) == pytest.approx(2.0, abs=1e-3)
    comment = read_tags(answer.content)["comment"]
    assert "bars=1" in comment
    assert "bpm=120" in comment


def test_a_key_is_said_in_words() -> None:
    assert GenerationRequest(prompt="a drone", key="F# minor").prompt_with_key == "a drone, F# minor"
    assert GenerationRequest(prompt="a drone").prompt_with_key == "a drone"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"bars": 2}, "bars"), ({"bars": 2, "bpm": 120, "seconds": 1}, "bars"), ({"bpm": 0}, "bpm"), ({"bpm": 1e9}, "bpm"),
        ({"time_signature": "0/4"}, "time_signature"), ({"time_signature": "4/3"}, "time_signature"), ({"key": "H#!"}, "key"),
        ({"key": "A; rm -rf /"}, "key"), ({"bit_depth": 8}, "bit_depth"), ({"bit_depth": 32, "format": "flac"}, "bit_depth"),
        ({"bit_depth": 16, "format": "mp3"}, "bit_depth"), ({"loudness_lufs": 5}, "loudness_lufs"), ({"extend_s": 1}, "extend_s"),
        ({"inpaint_start_s": 0.1}, "inpaint_start_s"), ({"inpaint_end_s": 1}, "inpaint_end_s"), ({"init_sound": "../x"}, "init_sound"),
        ({"init_sound": "0" * 64}, "init_sound"), ({"loop": True, "seconds": 4.0}, "seconds"), ({"bars": 9, "bpm": 60}, "bars"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(bench: InProcessService, fields: dict[str, Any], field: str) -> None:
    answer = bench.post(**fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(("name", "other"), [("inpaint_start_s", 0.1), ("loop", True), ("seconds", 1.0)])
def test_a_continuation_goes_alone(bench: InProcessService, name: str, other: Any) -> None:
    fields: dict[str, Any] = {"seconds": None, "init_audio": as_text(noise(0.5)), "extend_s": 0.5, name: other}
    assert bench.post(**fields).status_code == 422


@pytest.mark.parametrize(("depth", "subtype"), [(16, "PCM_16"), (24, "PCM_24"), (32, "FLOAT"), (None, "PCM_24")])
def test_bit_depth(bench: InProcessService, depth: int | None, subtype: str) -> None:
    with sf.SoundFile(io.BytesIO(bench.post(bit_depth=depth, format="wav").content)) as file:
        assert file.subtype == subtype


def test_an_init_sound_may_be_named_by_its_digest(bench: InProcessService) -> None:
    first = bench.post(seed=3)
    answer = bench.post(init_sound=first.headers["x-audio-tune-sound"], init_strength=0.5)
    assert answer.status_code == 200
    assert f"init={first.headers['x-audio-tune-sound']}" in read_tags(answer.content)["comment"]


def test_an_extended_sound_begins_with_what_did_not_fit_and_is_as_long_as_said(bench: InProcessService) -> None:
    long = noise(5.0)
    answer = bench.post(seconds=None, init_audio=as_text(long), extend_s=1.0, format="wav")
    assert length_s(answer) == pytest.approx(6.0, abs=1e-3)
    made = read_sound(io.BytesIO(answer.content))
    assert np.allclose(made.data[0, : 2 * RATE_HZ], long.data[0, : 2 * RATE_HZ], atol=1e-5)
    too_much = bench.post(seconds=None, init_audio=as_text(long), extend_s=3.9)
    assert too_much.json()["errors"][0]["field"] == "extend_s"


def test_a_part_made_anew_keeps_the_length(bench: InProcessService) -> None:
    answer = bench.post(seconds=None, init_audio=as_text(noise(1.0)), inpaint_start_s=0.2, inpaint_end_s=0.4)
    assert length_s(answer) == pytest.approx(1.0, abs=1e-3)
    outside = bench.post(seconds=None, init_audio=as_text(noise(1.0)), inpaint_start_s=1.2)
    assert outside.json()["errors"][0]["field"] == "inpaint_start_s"


def test_a_loop_has_no_seam_and_tells_it(bench: InProcessService) -> None:
    answer = bench.post(loop=True, seconds=1.0)
    assert length_s(answer) == pytest.approx(1.0, abs=1e-3)
    assert float(answer.headers["x-audio-tune-seam-db"]) < 12


def test_the_end_of_a_loop_runs_into_its_beginning() -> None:
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = Sound(0.3 * np.sin(2 * np.pi * 217.3 * t).astype(np.float32), RATE_HZ)
    cut = tone.cut(0, tone.frames - RATE_HZ // 5)
    assert measure_seam_db(crossfade_loop(tone, RATE_HZ // 5)) < 6 < measure_seam_db(cut)
    assert crossfade_loop(tone, RATE_HZ // 5).frames == cut.frames
    assert crossfade_loop(tone, 0).frames == tone.frames


def test_loudness_is_reached_or_stops_at_the_peak() -> None:
    sound, reached = level_loudness(noise(2.0), -20.0)
    assert reached == -20.0
    assert measure_integrated_lufs(sound) == pytest.approx(-20.0, abs=0.1)
    peaky = Sound(np.concatenate([noise(2.0).data * 0.01, np.full((1, 10), 0.5, np.float32)], axis=1), RATE_HZ)
    loud, short = level_loudness(peaky, -5.0)
    assert short is not None
    assert short < -5.0
    assert (measure_true_peak_dbtp(loud) or 0) == pytest.approx(-1.0, abs=0.1)
    assert level_loudness(Sound(np.zeros((1, 1000), np.float32), RATE_HZ), -20.0)[1] is None


def test_what_a_request_leaves_open_is_the_releases_own(bench: InProcessService) -> None:
    loaded = bench.engine.loaded_releases.default_release
    assert loaded is not None
    loaded.model.defaults = GenerationDefaults(steps=6, guidance=1.0, sampler="dpmpp-3m-sde", length_s=1.5)
    answer = bench.post(seconds=None, steps=None, guidance=None)
    assert length_s(answer) == pytest.approx(1.5, abs=1e-3)
    said = [answer.headers[f"X-Audio-Tune-{name}"] for name in ("Steps", "Guidance", "Sampler")]
    assert said == ["6", "1.0", "dpmpp-3m-sde"]
    answer = bench.post(steps=3, guidance=0, sampler="k-heun")
    said = [answer.headers[f"X-Audio-Tune-{name}"] for name in ("Steps", "Guidance", "Sampler")]
    assert said == ["3", "0.0", "k-heun"]
    assert bench.client.get("/v1/health").json()["defaults"]["steps"] == 6
