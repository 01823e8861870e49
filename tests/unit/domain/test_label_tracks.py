"""Label tracks as Audacity writes them, and what hands and locales make of them."""

from __future__ import annotations

import pytest

from audiotune.domain.label_tracks import TimeLabel, is_label_track, parse_label_track


def test_regions_points_and_frequency_lines() -> None:
    text = "0.500000\t1.250000\ta horn\n\\\t120.000000\t4000.000000\n2.000000\t2.000000\tthe door\n3.0\t4.0\t\n\n"
    assert is_label_track(text)
    track = parse_label_track(text)
    assert track.faults == ()
    assert track.labels == (
        TimeLabel(start_s=0.5, end_s=1.25, words="a horn"),
        TimeLabel(start_s=2, end_s=2, words="the door"),
        TimeLabel(start_s=3, end_s=4),
    )
    assert [label.is_region for label in track.labels] == [True, False, True]


@pytest.mark.parametrize(
    ("line", "start_s", "end_s"),
    [
        ("1,5\t2,25\tx", 1.5, 2.25),  # a locale with decimal commas
        ("2.25\t1.5\tx", 1.5, 2.25),
        ("-0.25\t0.75\tx", 0.0, 0.75),
        ("  1.5\t2.25\tx\r", 1.5, 2.25),
    ],
)
def test_times_of_other_hands(line: str, start_s: float, end_s: float) -> None:
    assert [(one.start_s, one.end_s, one.words) for one in parse_label_track(line + "\n").labels] == [(start_s, end_s, "x")]


def test_labels_come_in_order_of_time_and_other_lines_are_named() -> None:
    track = parse_label_track("5\t6\tb\n1\t2\ta\nnonsense\n-3\t-2\tbefore\n")
    assert [label.words for label in track.labels] == ["a", "b"]
    assert [fault[:40] for fault in track.faults] == [
        "line 3 is no line of a label track: 'non",
        "line 4 lies before the recording's begin",
    ]


@pytest.mark.parametrize("text", ["", "a slow drone", "1 2 3\n", "3 minutes of\tnoise\there\n", "1.5\tx\ty\n"])
def test_words_are_no_label_track(text: str) -> None:
    assert not is_label_track(text)
