"""Views of a segment: the same ones every time, within their bounds, and the first one as it is."""

from __future__ import annotations

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from components.encode.settings import Settings
from components.encode.views import SegmentView, draw_view

SOUND = Sound(np.stack([np.linspace(0.1, 0.5, 1000), np.linspace(-0.5, -0.1, 1000)]).astype(np.float32), 1000)


def test_the_first_view_is_the_segment() -> None:
    assert draw_view(Settings(views=3), "blobs/a.flac", 0) == SegmentView()
    assert np.array_equal(SegmentView().apply(SOUND).data, SOUND.data)


def test_views_are_drawn_alike_and_differ_from_each_other() -> None:
    settings = Settings(views=9)
    drawn = [draw_view(settings, "blobs/a.flac", number) for number in range(1, 9)]
    assert drawn == [draw_view(settings, "blobs/a.flac", number) for number in range(1, 9)]
    others = [draw_view(settings, "blobs/b.flac", 1), draw_view(Settings(views=9, view_seed=1), "blobs/a.flac", 1)]
    assert len({*drawn, *others}) == 10


def test_views_keep_their_bounds() -> None:
    settings = Settings(views=64, view_crop=0.2, view_gain_db=3)
    drawn = [draw_view(settings, "blobs/a.flac", number) for number in range(1, 64)]
    assert all(0 <= view.start <= 0.1 and 0.9 <= view.end <= 1 for view in drawn)
    assert all(abs(view.gain_db) <= 3 for view in drawn)
    assert {view.is_inverted for view in drawn} == {view.is_swapped for view in drawn} == {True, False}
    off = Settings(views=9, view_crop=0, view_gain_db=0, view_polarity=False, view_swap=False, view_posterior=False)
    assert {draw_view(off, "blobs/a.flac", number) for number in range(1, 9)} == {SegmentView()}


def test_a_view_is_cut_raised_swapped_and_inverted() -> None:
    made = SegmentView(start=0.1, end=0.9, gain_db=6.0206, is_inverted=True, is_swapped=True).apply(SOUND)
    assert made.frames == 800
    assert made.data[0] == pytest.approx(-2 * SOUND.data[1, 100:900], rel=1e-4)
    assert made.data[1] == pytest.approx(-2 * SOUND.data[0, 100:900], rel=1e-4)
    assert SegmentView(start=0.999, end=0.999).apply(SOUND.cut(0, 1)).frames == 1
