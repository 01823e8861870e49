from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import soundfile as sf

from audiotune.audio import figures
from audiotune.audio.sound import Sound
from audiotune.reporting import html as html_module


def _tone(seconds: float, rate: int = 48_000, amplitude: float = 0.5) -> Sound:
    t = np.arange(round(seconds * rate)) / rate
    return Sound((amplitude * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate)


def _inside(html: str) -> bytes:
    found = re.search(r"base64,([^\"]+)", html)
    assert found
    return base64.b64decode(found.group(1))


def test_a_page_is_whole_and_escapes_its_title() -> None:
    page = html_module.render_page("A <b>", "<p>body</p>", subtitle="1 < 2")
    assert page.startswith("<!doctype html>")
    assert "<title>A &lt;b&gt;</title>" in page
    assert "1 &lt; 2" in page
    assert "<p>body</p>" in page
    assert "prefers-color-scheme:dark" in page


def test_a_page_fetches_nothing() -> None:
    page = html_module.render_page(
        "x", html_module.render_section("s", html_module.render_player(_tone(0.1)), html_module.render_picture(b"png", "p"))
    )
    assert not re.search(r"https?://|src=\"(?!data:)|<script", page)


def test_a_page_stays_below_three_megabytes_and_says_what_it_left_out() -> None:
    heavy = [html_module.render_picture(bytes(400_000), f"picture {n}") for n in range(12)]
    page = html_module.render_page("x", "".join(heavy))
    assert len(page.encode()) < 3_000_000
    assert 'alt="picture 0"' in page
    assert 'alt="picture 11"' not in page
    assert "left out to keep this page small" in page


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_a_player_holds_the_sound(rate: int) -> None:
    with sf.SoundFile(io.BytesIO(_inside(html_module.render_player(_tone(2.0, rate))))) as file:
        assert file.channels == 1
        frames = file.read(dtype="float32")
        assert len(frames) / file.samplerate == pytest.approx(2.0, abs=0.25)
    assert np.abs(frames).max() == pytest.approx(0.5, abs=0.1)


def test_a_player_is_small_and_cuts_long_sounds() -> None:
    html = html_module.render_player(_tone(30.0), max_s=12, label="one <tone>")
    assert len(html) < 150_000
    assert "first 12 of 30.0 s" in html
    assert "one &lt;tone&gt;" in html


def test_a_quiet_sound_is_raised_and_says_so() -> None:
    html = html_module.render_player(_tone(0.5, amplitude=0.001))
    assert "raised 40 dB" in html
    assert np.abs(sf.read(io.BytesIO(_inside(html)))[0]).max() > 0.05


def test_silence_can_be_played() -> None:
    assert "<audio" in html_module.render_player(Sound(np.zeros((2, 1000), np.float32), 48_000))


def test_table_cells_are_escaped_unless_they_are_html() -> None:
    html = html_module.render_table(["<h>"], [["<script>"], [html_module.Markup("<b>bold</b>")], [1.23456], [None], [True], [7]])
    assert "&lt;h&gt;" in html
    assert "&lt;script&gt;" in html
    assert "<b>bold</b>" in html
    assert ">1.235<" in html
    assert "–" in html
    assert ">yes<" in html
    assert ">7<" in html


@pytest.mark.parametrize(("seconds", "words"), [(0.4211, "0.42 s"), (12.0, "12.0 s"), (184, "3:04"), (7509, "2:05:09")])
def test_seconds(seconds: float, words: str) -> None:
    assert html_module.format_duration(seconds) == words


def test_pictures_are_png_and_small() -> None:
    sound = Sound(np.random.default_rng(0).normal(0, 0.1, (2, 48_000)).astype(np.float32), 48_000)
    pictures = {
        "waveform": figures.draw_waveform(np.abs(sound.data[0, ::48]), sound.duration_s, [(0.1, 0.5)]),
        "spectrogram": figures.draw_spectrogram(sound),
        "curve": figures.draw_curves({"loss": ([1, 2, 3], [3.0, np.nan, 1.0])}, x="step", y="loss", log_y=True),
        "short": figures.draw_spectrogram(Sound(np.zeros((1, 10), np.float32), 8_000)),
    }
    for name, png in pictures.items():
        assert png.startswith(b"\x89PNG"), name
        assert len(png) < 150_000, name
