"""Label tracks as Audacity writes them: lines of start, end and label with tabs between, in seconds.

A line with `\\` in front holds the frequencies of the label above it and says nothing about time. A label without length is a point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.tables import parse_seconds

MOST_LABELS = 5000  # of one track
_LONGEST_WORDS = 2000
_SHORTEST_REGION_S = 0.01  # a shorter one is a point: somebody's mouse moved while clicking
_TIME = r"(-?\d+(?:[.,]\d+)?)"
_LINE = re.compile(rf"\s*{_TIME}\t{_TIME}(?:\t(.*))?")


class TimeLabel(FrozenModel):
    """A region of a recording or a point in it, in seconds; with words or without."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    words: str = ""

    @property
    def is_region(self) -> bool:
        return self.end_s - self.start_s >= _SHORTEST_REGION_S

    @property
    def shown(self) -> str:
        """The label as a report names it."""
        place = f"{self.start_s:.2f} to {self.end_s:.2f} s" if self.is_region else f"{self.start_s:.2f} s"
        return f"{self.words[:60]!r} at {place}" if self.words else f"the label at {place}"


@dataclass(frozen=True)
class LabelTrack:
    """The labels of one recording in order of time, and why other lines are none."""

    labels: tuple[TimeLabel, ...]
    faults: tuple[str, ...] = ()


def is_label_track(text: str) -> bool:
    """Whether a text is a label track, by its first line."""
    return bool(_LINE.fullmatch(next((line for line in text.splitlines() if line.strip()), "")))


def parse_label_track(text: str) -> LabelTrack:
    """All labels of a text; a start behind its end is taken for its end."""
    labels, faults = list[TimeLabel](), list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("\\"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            faults.append(f"line {number} is no line of a label track: {line[:80]!r}")
            continue
        start_s, end_s = sorted(map(parse_seconds, match.groups()[:2]))
        words = " ".join((match[3] or "").split())[:_LONGEST_WORDS]
        if end_s < 0 or (start_s < 0 and end_s == 0):
            faults.append(f"line {number} lies before the recording's beginning: {line[:80]!r}")
        elif len(labels) >= MOST_LABELS:
            faults.append(f"line {number} and those behind it: {MOST_LABELS} labels are the most")
            break
        else:
            labels.append(TimeLabel(start_s=max(0.0, start_s), end_s=end_s, words=words))
    return LabelTrack(tuple(sorted(labels, key=lambda label: (label.start_s, label.end_s))), tuple(faults))
