"""Writes and reads the last line on a failed step's standard error, which says in one sentence why it failed:

    ingest: ben has not agreed to store. Ask him

Kubeflow keeps nothing else of a failed step, and a person reads this line first.
"""

import re
import sys

from audiotune.reporting.progress import parse_progress_line

_LAST_WORDS = re.compile(r"[a-z_]+: \S.*")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NEAR_THE_END = 3  # lines; a library may write one or two more after our own
_LONGEST = 800


def print_last_words(step: str, reason: str) -> None:
    """Writes why a step failed, as one line."""
    print(f"{step}: {' '.join(reason.split())}", file=sys.stderr, flush=True)


def describe_bug(error: Exception) -> str:
    """An error of another family than ours, in one line."""
    return f"{type(error).__name__}: {error}" if str(error).strip() else f"{type(error).__name__}: no message"


def name_step(step: str, words: str) -> str:
    """The words after the name of their step, unless they begin with it. Kubeflow writes `annotate-merge`, the step `annotate_merge`."""
    return words if words.startswith(f"{step.replace('-', '_')}:") else f"{step}: {words}"


def find_last_words(log: str) -> str:
    """The line that says why a step failed: its own `step: reason`, else the last line that is no progress; empty for none."""
    stripped = (_COLOURS.sub("", line).strip() for line in log.splitlines())
    lines = [line for line in stripped if line and parse_progress_line(line) is None]
    own = [line for line in lines[-_NEAR_THE_END:] if _LAST_WORDS.fullmatch(line)]
    return (own or lines or [""])[-1][:_LONGEST]
