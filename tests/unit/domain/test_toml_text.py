"""TOML of strangers: what takes Python's parser long is refused before it begins."""

from __future__ import annotations

import sys
import tomllib
from types import FrameType
from typing import Any

import pytest

from audiotune.domain.toml_text import LARGEST, MOST_DOTS, parse_toml

DEEP = ".".join("a" * 100_000)
HOSTILE = {
    "a dotted key": f"{DEEP} = 1",
    "a dotted key with blanks and quotes": " . ".join(['"a"', "'b'"] * 50_000) + " = 1",
    "a table's name": f"[{DEEP}]",
    "the name of an array of tables": f"[[{DEEP}]]",
    "a key of an inline table": f"x = {{{DEEP} = 1}}",
    "a key in an array": f"x = [\n1,\n{{{DEEP} = 1}}]",
    "a key behind a long string": f'x = """\n\n"""\n{DEEP} = 1',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_deep_keys_never_reach_the_parser(kind: str) -> None:
    assert count_parsed_lines(HOSTILE[kind]) == 0
    line = next(number for number, line in enumerate(HOSTILE[kind].split("\n"), 1) if "a" in line)
    with pytest.raises(ValueError, match=f"line {line} has more than {MOST_DOTS} dots"):
        parse_toml(HOSTILE[kind])


def test_more_than_a_mebibyte_is_refused() -> None:
    assert count_parsed_lines("a = 1\n" + "#" * LARGEST) == 0
    with pytest.raises(ValueError, match="are the most"):
        parse_toml("a = 1\n" + "#" * LARGEST)


def deepest_allowed(count: int) -> str:
    """Keys as deep as a line may hold, below a table as deep."""
    key = ".".join("a" * MOST_DOTS)
    return f"[{key}]\n" + "".join(f"{key}.b{i} = 1\n" for i in range(count))


def test_work_grows_with_the_size_alone() -> None:
    once, thrice = count_parsed_lines(deepest_allowed(20)), count_parsed_lines(deepest_allowed(60))
    assert once > 0
    assert 2.5 < thrice / once < 3.3


def test_what_people_write_is_read() -> None:
    text = 'contributors = ["ana"]\r\n["jam/take.1.wav"]\nwords = "a drone. It opens ... slowly."\nsession.name = "May"\n'
    assert parse_toml(text) == tomllib.loads(text)
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_toml("a = ")


def count_parsed_lines(text: str) -> int:
    """How many lines of Python's parser run: its work, whatever the machine does besides."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        if "tomllib" not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_toml(text)
    except ValueError:
        pass
    finally:
        sys.settrace(before)
    return lines
