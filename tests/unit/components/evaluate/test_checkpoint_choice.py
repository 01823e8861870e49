"""Which checkpoint is released: nearness and copying, the gate first, and why in words."""

from __future__ import annotations

import pytest

from audiotune.domain.release import Evaluation, JudgedCheckpoint
from components.evaluate.checkpoint_choice import describe_choice, find_best_earlier, is_earlier_better, mark_frontier
from components.evaluate.settings import Settings


def judged(step: int, kad: float, copied: float = 0.0) -> JudgedCheckpoint:
    return JudgedCheckpoint(step=step, kad=kad, copied_share=copied, likeness=0.5, sounds=8)


def evaluation(kad: float, copied: float = 0.0, *, passed: bool = True) -> Evaluation:
    return Evaluation(metrics={"kad_after": kad, "copied_share": copied, "copied_share_of_held_out": 0.05}, passed=passed)


def test_the_frontier_is_what_no_other_beats() -> None:
    screened = {"a": judged(1, 9.0), "b": judged(2, 5.0), "c": judged(3, 6.0, 0.2), "": judged(4, 3.0, 0.3)}
    marked = mark_frontier(screened)
    assert {key: one.on_frontier for key, one in marked.items()} == {"a": False, "b": True, "c": False, "": True}


def test_two_that_are_equal_are_both_on_the_frontier() -> None:
    assert all(one.on_frontier for one in mark_frontier({"a": judged(1, 5.0), "": judged(2, 5.0)}).values())


def test_the_nearest_of_the_earlier_ones_is_judged_in_full() -> None:
    assert find_best_earlier(Settings(), {"a": judged(1, 9.0), "b": judged(2, 5.0), "": judged(3, 1.0)}) == "b"


def test_not_one_that_copies_more_than_the_last_by_more_than_the_gate_allows() -> None:
    assert find_best_earlier(Settings(), {"a": judged(1, 2.0, 0.4), "b": judged(2, 5.0), "": judged(3, 1.0)}) == "b"


def test_a_run_of_one_checkpoint_has_nothing_to_choose() -> None:
    assert find_best_earlier(Settings(), {"": judged(3, 1.0)}) is None


@pytest.mark.parametrize(
    ("earlier", "last", "better"),
    [
        (evaluation(3.0), evaluation(4.0), True),
        (evaluation(4.0), evaluation(4.0), False),  # the last one then: it was trained longer
        (evaluation(4.0), evaluation(3.0), False),
        (evaluation(5.0), evaluation(4.0, passed=False), True),
        (evaluation(3.0, passed=False), evaluation(4.0), False),
        (evaluation(3.0, 0.1), evaluation(4.0), True),  # 5 % of held-out recordings are like that, too
        (evaluation(3.0, 0.3), evaluation(4.0), False),  # nearer by copying
        (evaluation(5.0), evaluation(4.0, 0.3), True),  # the last one is nearer by copying
        (evaluation(5.0), evaluation(4.0, 0.1), False),
    ],
)
def test_the_better_of_two(earlier: Evaluation, last: Evaluation, better: bool) -> None:
    assert is_earlier_better(Settings(), earlier, last) is better


@pytest.mark.parametrize(
    ("chosen", "other", "words"),
    [
        (evaluation(3.0), evaluation(4.0), "it is nearer to the recordings (KAD 3, at step 9 4; copies 0%, there 0%)"),
        (evaluation(3.0, 0.1), evaluation(4.0), "nearer to the recordings, and copies no more than the gate lets pass (KAD 3"),
        (evaluation(5.0), evaluation(4.0, 0.3), "it copies less (KAD 5, at step 9 4; copies 0%, there 30%)"),
        (evaluation(5.0), evaluation(4.0, passed=False), "it passes the gate, and step 9 does not"),
        (evaluation(3.0), evaluation(3.0), "step 9, the best of the others, is not nearer"),
    ],
)
def test_the_choice_in_words(chosen: Evaluation, other: Evaluation, words: str) -> None:
    told = describe_choice([judged(3, 5.0), judged(6, 3.0), judged(9, 4.0)], 6, 9, chosen, other)
    assert told.startswith("step 6 was chosen of the checkpoints 3, 6, 9: ")
    assert words in told
