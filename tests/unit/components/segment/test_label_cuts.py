"""Takes with a label track beside them are cut at its regions, and the report says what could not be cut so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.label_tracks import TimeLabel
from audiotune.domain.segment import Segment
from tests.unit.components.segment.test_step import RATE, SegmentRun

LASTS_S = 12.0


def add_take(folder: Path, *labels: tuple[float, float, str], silent: tuple[float, float] = (0, 0)) -> SegmentRun:
    """A take of steady sound with labels; the step alone would cut it once."""
    run = SegmentRun(folder)
    t = np.arange(round(LASTS_S * RATE)) / RATE
    data = 0.2 * np.sin(2 * np.pi * 220 * t) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))
    data[round(silent[0] * RATE) : round(silent[1] * RATE)] = 0
    row = run.add_sound(Sound(data[None].astype(np.float32), RATE))
    said = tuple(TimeLabel(start_s=start, end_s=end, words=words) for start, end, words in labels)
    run.rows[:] = [row.model_copy(update={"labels": said})]
    return run


def bounds(rows: list[Segment]) -> list[tuple[float, float]]:
    return [(round(row.start_s, 3), round(row.start_s + row.duration_s, 3)) for row in rows]


def test_regions_are_cut_as_they_stand_and_points_cut_nothing(tmp_path: Path) -> None:
    run = add_take(tmp_path, (1.0, 2.5, "a"), (2.5, 4.001, ""), (3.0, 3.0, "point"), (7, 8, "b"))
    result, rows = run.run()
    assert bounds(rows) == [(1.0, 2.5), (2.5, 4.001), (7.0, 8.0)]
    assert result.metrics["with_labels"] == 1
    assert "cut at 3 of 3 labels" in run.report
    again, kept = run.run()
    assert (again.metrics["reused"], bounds(kept)) == (1, bounds(rows))
    assert "cut at 3 of 3 labels" in run.report


def test_points_alone_leave_the_cutting_to_the_step(tmp_path: Path) -> None:
    run = add_take(tmp_path, (3.0, 3.0, "point"))
    assert bounds(run.run()[1]) == bounds(run.run(cut_at_labels=False)[1])
    assert "Cut at labels" not in run.report


def test_the_setting_leaves_the_cutting_to_the_step(tmp_path: Path) -> None:
    run = add_take(tmp_path, (1.0, 2.5, "a"))
    assert (1.0, 2.5) not in bounds(run.run(cut_at_labels=False)[1])
    assert "Cut at labels" not in run.report
    assert bounds(run.run()[1]) == [(1.0, 2.5)]  # the earlier cuts were of other settings


def test_regions_over_each_other_are_all_cut(tmp_path: Path) -> None:
    run = add_take(tmp_path, (1, 9, "bed"), (2, 3, "hit"), (8.5, 11, "next"))
    assert bounds(run.run()[1]) == [(1, 9), (2, 3), (8.5, 11)]
    many = [(0.1 * n, 10 + 0.1 * n, str(n)) for n in range(12)]
    deep = add_take(tmp_path, *many)
    assert len(deep.run()[1]) == 8
    assert "8 other labels lie over it" in deep.report


@pytest.mark.parametrize(
    ("label", "cut", "words"),
    [
        ((10.0, 14.0, "late"), [(10.0, 12.0)], "goes beyond the recording&#39;s end and is cut there, at 12.00 s"),
        ((20.0, 21.0, "gone"), [], "is left out: the recording ends at 12.00 s"),
        ((5.0, 6.0, "nothing"), [], "is left out: nothing there is louder than quietest_dbfs"),
        ((3.0, 3.1, "short"), [(3.0, 3.3)], "is shorter than min_s and lasts 0.3 s"),
        ((11.9, 12.0, "last"), [(11.7, 12.0)], "is shorter than min_s and lasts 0.3 s"),
    ],
)
def test_regions_that_do_not_fit_are_handled_and_named(
    tmp_path: Path, label: tuple[float, float, str], cut: list[tuple[float, float]], words: str
) -> None:
    run = add_take(tmp_path, (0.5, 1.5, "first"), label, silent=(4.9, 6.1))
    assert bounds(run.run()[1]) == [(0.5, 1.5), *cut]
    assert words in run.report
    assert f"cut at {1 + len(cut)} of 2 labels" in run.report


def test_a_short_region_takes_nothing_of_its_neighbours(tmp_path: Path) -> None:
    run = add_take(tmp_path, (1, 2, "a"), (2.1, 2.2, "short"), (2.25, 3, "b"), (3.0, 3.1, "between"), (3.1, 4, "c"))
    assert bounds(run.run()[1]) == [(1, 2), (2.25, 3), (3.1, 4)]
    assert "and stands between others" in run.report


def test_a_long_region_is_cut_where_least_happens(tmp_path: Path) -> None:
    run = add_take(tmp_path, (1, 11, "long"))
    rows = run.run(max_s=4)[1]
    assert (bounds(rows)[0][0], bounds(rows)[-1][1]) == (1, 11)
    assert [a.end_frame for a in rows[:-1]] == [b.start_frame for b in rows[1:]]
    assert "is longer than max_s, 4 s" in run.report


def test_labels_of_another_take_leave_the_cutting_to_the_step(tmp_path: Path) -> None:
    run = add_take(tmp_path, (100, 110, "elsewhere"))
    assert bounds(run.run()[1]) == bounds(run.run(cut_at_labels=False)[1])
    run.run()
    assert "none of its labels can be cut" in run.report
