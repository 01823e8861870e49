"""The progress of a long task: a share in [0, 1] and a few words. Only this module writes and reads it as a line of a log:

    [ 42%] step 84 of 200, loss 0.4

A person reads the line in a pod's log; a run on this machine, the studio and the leader of a TrainJob draw a bar from it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

ProgressCallback = Callable[[float, str], None]

_LINE = re.compile(r"\[ *(\d{1,3})%\] ?(.*)")
_LONGEST_WORDS = 200


class Progress(NamedTuple):
    """The progress of a task. `share` is in [0, 1]."""

    share: float
    words: str


def ignore_progress(share: float, words: str) -> None:
    """Does nothing."""


def format_progress_line(share: float, words: str) -> str:
    """The line for a log. Line breaks in the words become spaces."""
    return f"[{min(1.0, max(0.0, share)):4.0%}] {' '.join(words.split())}"


def print_progress(share: float, words: str) -> None:
    """Writes the line to standard output at once."""
    print(format_progress_line(share, words), flush=True)


def parse_progress_line(line: str) -> Progress | None:
    """The progress in a line; None for a line of another kind."""
    match = _LINE.fullmatch(line.strip())
    return Progress(min(1.0, int(match[1]) / 100), match[2].strip()[:_LONGEST_WORDS]) if match else None


def find_last_progress(log: str) -> Progress | None:
    """The last progress in a log; None where there is none yet."""
    found = (parse_progress_line(line) for line in reversed(log.splitlines()))
    return next((progress for progress in found if progress), None)
