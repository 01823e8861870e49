"""Reads TOML that somebody else wrote. Python's parser takes time that grows with the square of a key's parts (a.b.c.…)."""

import tomllib
from typing import Any

LARGEST = 1 << 20  # bytes
MOST_DOTS = 50  # of a line, as a key stands in one line


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text. Raises ValueError: no TOML, too large, or a line with more dots than a key may have."""
    if len(text) > LARGEST:
        raise ValueError(f"TOML of {len(text):,} letters; {LARGEST:,} are the most, so make a CSV table of it")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots; break a long text into several lines")
    return tomllib.loads(text)
