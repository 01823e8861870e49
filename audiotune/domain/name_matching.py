"""Finds the file that somebody means who writes its name into a table or another program.

Names compare in Unicode's composed form, without letters that cannot be seen, and with `/` between folders. An address counts by the name
at its end. What is only nearly a name is no match, but can be told: other accents, umlauts in two letters, a number with other zeros in
front, letters of another encoding.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

# zero width, direction marks, variation selectors: spreadsheets and phones leave them in
_UNSEEN = dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF])
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "oe", "å": "aa"})
_MOST_COMPARISONS = 500_000  # of letters one by one, some seconds; a table of more rows and files is compared by its forms alone
_NEAR = 0.8  # of 1, by difflib: a letter lost, doubled or swapped in a name of eight


def normalise_name(name: str) -> str:
    """Composed letters, `/` between folders, no `./` in front."""
    composed = unicodedata.normalize("NFC", name.translate(_UNSEEN).strip()).replace("\\", "/")
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
        self._comparisons = 0
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
        for candidate in _list_candidates(written):
            if exact := self._find_exact(candidate)[:1]:
                return NameMatch(tuple(exact[0]))
            for level, spelling in _list_spellings(candidate)[3:]:
                found = self._by_spelling.get((level, spelling), []) if rewritten or level == "any case" else []
                if len(found) == 1:
                    return NameMatch(tuple(found))
        return NameMatch((), self._find_near(written))

    def find_everywhere(self, written: str) -> NameMatch:
        """As `find`, but the exact name counts in every folder: a row for `jam.wav` is also about `night/jam.wav`."""
        for candidate in _list_candidates(written):
            if exact := self._find_exact(candidate):
                return NameMatch(tuple(dict.fromkeys(name for names in exact for name in names)))
        return self.find(written)

    def _find_exact(self, written: str) -> list[list[str]]:
        """The files of each exact level, the strictest first. A name without suffix may have dots in it."""
        spellings = _list_spellings(written)
        levels = [spellings[0], ("stem", spellings[0][1]), *spellings[1:3]]
        return [found for level in levels if (found := self._by_spelling.get(level, []))]

    def _find_near(self, written: str) -> tuple[str, ...]:
        """Files whose last part differs by little, or only in case, signs or the way its letters are written."""
        near: dict[str, None] = {}
        for candidate in _list_candidates(written):
            for letters in _list_near_forms(candidate):
                close = [letters] if letters in self._by_near_form else self._find_close(letters)
                # Another number is another take, not a slip of the pen.
                same_numbers = [one for one in close if re.findall(r"\d+", one) == re.findall(r"\d+", letters)]
                near |= {name: None for one in same_numbers for name in self._by_near_form[one]}
        return tuple(near)

    def _find_close(self, letters: str) -> list[str]:
        self._comparisons += len(self._by_near_form)
        if self._comparisons > _MOST_COMPARISONS:
            return []
        return difflib.get_close_matches(letters, self._by_near_form, n=5, cutoff=_NEAR)

    @cached_property
    def _by_near_form(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for name in dict.fromkeys(name for names in self._by_spelling.values() for name in names):
            for form in _list_near_forms(name):
                forms.setdefault(form, []).append(name)
        return forms


def _list_candidates(written: str) -> list[str]:
    """The name, and what it is where it is an address or has percent signs for letters."""
    candidates = [written]
    if "://" in written:
        candidates.append(unquote(written.partition("://")[2].partition("?")[0].partition("#")[0]))
    elif "%" in written:
        candidates.append(unquote(written))
    return candidates


def _list_near_forms(name: str) -> list[str]:
    """The letters of a name in the forms that people and programs write for each other, numbers without zeros in front."""
    forms = [name]
    for encoding in ("cp1252", "cp437", "mac_roman"):  # UTF-8 that was read as another encoding
        with contextlib.suppress(UnicodeError):
            forms.append(name.encode(encoding).decode())
    written = [_keep_letters(form) for form in forms]
    bare = [
        "".join(letter for letter in unicodedata.normalize("NFKD", one) if not unicodedata.combining(letter)) for one in written
    ]
    whole = [*(one.translate(_TWO_LETTERS) for one in written), *bare]
    return list(dict.fromkeys(re.sub(r"0+(?=\d)", "", one) for one in whole if one))


def _list_spellings(name: str) -> list[tuple[str, str]]:
    """(level, spelling), the strictest first."""
    path = PurePosixPath(normalise_name(name))
    exact = [("path", str(path)), ("stem", str(path.with_suffix("")) if path.name else str(path)), ("last", path.name)]
    return [*exact, *(("any case", spelling.casefold()) for _, spelling in exact[:1]), ("letters", _keep_letters(name))]


def _keep_letters(name: str) -> str:
    """The letters and digits of the last part without its suffix."""
    path = PurePosixPath(normalise_name(name))
    return "".join(filter(str.isalnum, path.stem.casefold()))
