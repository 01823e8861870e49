"""Files with tags inside."""

from __future__ import annotations

import io
from typing import get_args

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio.files_and_tags import encode_file
from audiotune.audio.sound import Sound
from audiotune.domain.generation import Format
from tests.fakes.sound_tags import read_tags

TAGS = {"title": "tiefer Ton, grün", "comment": "Synthetic sound. seed=7", "copyright": "by ana", "artist": "ours 1"}
FORMATS = get_args(Format)


def a_tone(rate_hz: int = 44_100) -> Sound:
    t = np.arange(rate_hz) / rate_hz
    return Sound(np.stack([0.4 * np.sin(2 * np.pi * 441 * t)] * 2).astype(np.float32), rate_hz)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_carries_its_tags_and_its_tone(format: Format) -> None:
    data = encode_file(a_tone(), format, TAGS)
    found = read_tags(data)
    assert {name: found[name] for name in TAGS} == TAGS
    frames, rate_hz = sf.read(io.BytesIO(data))
    spectrum = np.abs(np.fft.rfft(frames[:rate_hz, 0], rate_hz))
    assert abs(int(np.argmax(spectrum)) - 441) <= 1
    assert abs(len(frames) / rate_hz - 1) < 0.06
    assert 0.3 < np.abs(frames[rate_hz // 4 : rate_hz // 2]).max() < 0.5


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_the_same_sound_is_the_same_file(format: Format) -> None:
    assert encode_file(a_tone(), format, TAGS) == encode_file(a_tone(), format, TAGS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate_hz", [11_025, 16_000, 22_050, 96_000])
def test_any_rate_finds_a_way_into_any_format(format: Format, rate_hz: int) -> None:
    frames, found_hz = sf.read(io.BytesIO(encode_file(a_tone(rate_hz), format)))
    assert abs(len(frames) / found_hz - 1) < 0.2


def test_a_tag_cannot_end_early() -> None:
    assert "\0" not in read_tags(encode_file(a_tone(), "wav", {"title": "a\0b"}))["title"]


@pytest.mark.parametrize("format", get_args(Format))
@pytest.mark.parametrize("title", ["", "\0", "\0\0"])
def test_a_tag_of_nothing_is_left_out(format: Format, title: str) -> None:
    tone = Sound(np.zeros((1, 4410), np.float32), 44_100)
    assert encode_file(tone, format, {"title": title, "artist": "Ana"})
