"""Finds the file that somebody means who writes its name into a table or another program.

Names compare in Unicode's composed form and with `/` between folders. What is only nearly a name is no match, but can be told.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_NEAR = 0.8  # of 1, by difflib: a letter lost, doubled or swapped in a name of eight


def normalise_name(name: str) -> str:
    """Composed letters, `/` between folders, no `./` in front."""
    composed = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return re.sub(r"^(?:\./)+", "", re.sub(r"/{2,}", "/", composed))


@dataclass(frozen=True)
class NameMatch:
    """The files with a written name; and, only when there are none, those whose name is nearly the written one."""

    names: tuple[str, ...]
    near: tuple[str, ...] = ()


class NameMatcher:
    """The files of a folder, by what people may call them.

    Args:
        names: relative paths with `/`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_spelling: dict[tuple[str, str], list[str]] = {}
        for name in dict.fromkeys(names):
            for spelling in _list_spellings(name):
                self._by_spelling.setdefault(spelling, []).append(name)

    def find(self, written: str, *, rewritten: bool = False) -> NameMatch:
        """The files called so: by path, path without suffix, last part; then the same without regard to case, if that is one file.

        Args:
            rewritten: the name went through a program that replaces blanks and signs; it matches one file with the same letters
                and digits.
        """
        spellings = _list_spellings(written)
        for level, spelling in spellings:
            exact = level in ("path", "stem", "last")
            found = self._by_spelling.get((level, spelling), []) if exact or rewritten or level == "any case" else []
            if found and (exact or len(found) == 1):
                return NameMatch(tuple(found))
        return NameMatch((), self._find_near(written))

    def find_everywhere(self, written: str) -> NameMatch:
        """As `find`, but the exact name counts in every folder: a row for `jam.wav` is also about `night/jam.wav`."""
        exact = [
            name for level, spelling in _list_spellings(written)[:3] for name in self._by_spelling.get((level, spelling), [])
        ]
        return NameMatch(tuple(dict.fromkeys(exact))) if exact else self.find(written)

    def _find_near(self, written: str) -> tuple[str, ...]:
        """Files whose last part differs by little, or only in case or signs. Another number is another take, not a slip of the pen."""
        letters = _keep_letters(written)
        known = {spelling: names for (level, spelling), names in self._by_spelling.items() if level == "letters"}
        close = difflib.get_close_matches(letters, known, n=5, cutoff=_NEAR)
        same_numbers = (one for one in close if re.findall(r"\d+", one) == re.findall(r"\d+", letters))
        return tuple(name for one in same_numbers for name in known[one])


def _list_spellings(name: str) -> list[tuple[str, str]]:
    """(level, spelling), the strictest first."""
    path = PurePosixPath(normalise_name(name))
    exact = [("path", str(path)), ("stem", str(path.with_suffix("")) if path.name else str(path)), ("last", path.name)]
    return [*exact, *(("any case", spelling.casefold()) for _, spelling in exact[:1]), ("letters", _keep_letters(name))]


def _keep_letters(name: str) -> str:
    """The letters and digits of the last part without its suffix."""
    path = PurePosixPath(normalise_name(name))
    return "".join(filter(str.isalnum, path.stem.casefold()))
