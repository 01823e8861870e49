"""The progress lines and the failure line of a step: what is written can be read back."""

from __future__ import annotations

import pytest

from audiotune.reporting.last_words import describe_bug, find_last_words, name_step, print_last_words
from audiotune.reporting.progress import find_last_progress, format_progress_line, parse_progress_line, print_progress


@pytest.mark.parametrize(
    ("share", "words", "read"),
    [
        (0.0, "starting", (0.0, "starting")),
        (0.42, "step 84 of 200, loss 0.4", (0.42, "step 84 of 200, loss 0.4")),
        (1.0, "", (1.0, "")),
        (1.7, "too much", (1.0, "too much")),
        (-0.1, "too little", (0.0, "too little")),
        (0.5, "two\nlines", (0.5, "two lines")),
    ],
)
def test_what_is_written_is_read(share: float, words: str, read: tuple[float, str]) -> None:
    assert parse_progress_line(format_progress_line(share, words)) == read


@pytest.mark.parametrize("line", ["", "ingest: too loud", "50% take.wav", "[1000%] x", "say [ 10%] x", "[ab%] x"])
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_progress_line(line) is None


def test_the_last_progress_of_a_log_counts(capsys: pytest.CaptureFixture[str]) -> None:
    print_progress(0.1, "one")
    print_progress(0.9, "two")
    log = capsys.readouterr().out + "chatter\n"
    assert log.startswith("[ 10%] one\n[ 90%] two\n")
    assert find_last_progress(log) == (0.9, "two")
    assert find_last_progress("chatter\n") is None


def test_last_words_are_one_line_and_are_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    print_last_words("ingest", "take.wav is\nsilent. Play louder")
    said = capsys.readouterr().err
    assert said == "ingest: take.wav is silent. Play louder\n"
    assert find_last_words(f"[ 10%] so far\n{said}one more line of a library\n[100%] done\n\n") == said.strip()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("[ 10%] so far\n\n", ""),
        ("OOMKilled by the node\n", "OOMKilled by the node"),
        ("\x1b[31mencode: the disk is full\x1b[0m\n", "encode: the disk is full"),
        ("encode: an old word\na\nb\nc\n", "c"),
    ],
)
def test_what_a_log_ends_with(log: str, words: str) -> None:
    assert find_last_words(log) == words


def test_a_step_is_named_once() -> None:
    assert name_step("annotate-merge", "annotate_merge: no words") == "annotate_merge: no words"
    assert name_step("encode", "OOMKilled") == "encode: OOMKilled"
    assert describe_bug(ValueError("odd")) == "ValueError: odd"
    assert describe_bug(ValueError()) == "ValueError: no message"
