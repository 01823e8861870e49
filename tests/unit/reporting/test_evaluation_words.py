"""What an evaluation measured, in words."""

from __future__ import annotations

import pytest

from audiotune.reporting.evaluation_words import describe_metrics


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (10.28, 1.45, "7 times nearer to your recordings than before"),
        (10.0, 6.0, "somewhat nearer to your recordings than before"),
        (10.0, 9.6, "not nearer to your recordings than before"),
        (10.0, 14.0, "not nearer to your recordings than before"),
        (-0.1, -0.2, "not nearer to your recordings than before"),
        (3.0, -0.2, "as near to your recordings as they are to each other"),
    ],
)
def test_nearness(before: float, after: float, words: str) -> None:
    assert describe_metrics({"kad_before": before, "kad_after": after}) == (words,)


def test_the_most_important_comes_first() -> None:
    metrics = {"clipped_share": 0.0, "copied_share": 0.0, "kad_after": 1.0, "kad_before": 3.0, "sounds": 24.0}
    more = {"word_gain_db_lowest": 0.2, "silent_share": 0.25}
    assert describe_metrics(metrics | more) == (
        "3 times nearer to your recordings than before",
        "no copies of recordings",
        "follows its words",
        "25% of its sounds are silent",
        "judged by 24 sounds",
    )


def test_faults_are_said() -> None:
    assert describe_metrics({"copied_share": 0.1, "word_gain_db_lowest": -1}) == (
        "10% of its sounds copy a recording",
        "does not follow its words",
    )


def test_nothing_measured() -> None:
    assert describe_metrics({}) == ()
