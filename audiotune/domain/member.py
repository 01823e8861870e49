"""The form of member ids and of annotator ids, and their checks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator

from audiotune.errors import AccessError

MEMBER_ID = r"[a-z0-9][a-z0-9_-]{0,63}"
_LONGEST_SUGGESTION = 40
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_ALLOWED = "small letters, digits, '_' and '-' only"
_ANNOTATOR_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def is_member_id(text: str) -> bool:
    """Whether a text has the form of a member id. Which members exist, the agreement says."""
    return re.fullmatch(MEMBER_ID, text) is not None


def require_member_id(text: str) -> str:
    """Returns the text. Raises AccessError when it is no member id."""
    if not is_member_id(text):
        raise AccessError(f"{text[:64]!r} is no member id", cure=_ALLOWED)
    return text


def suggest_member_id(name: str, taken: Collection[str] = ()) -> str:
    """An id for a name, as in `ana-muller` for Ana Müller; with a number where it is taken, `member` where no letter fits.

    >>> suggest_member_id("Øystein Łoś", {"oystein-los"})
    'oystein-los-2'
    """
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    words = re.findall(r"[a-z0-9]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
    id = "-".join(words)[:_LONGEST_SUGGESTION].strip("-") or "member"
    return next(one for number in range(1, len(taken) + 2) if (one := id if number == 1 else f"{id}-{number}") not in taken)


def _validate_member_id(text: str) -> str:
    if not is_member_id(text):
        raise ValueError(f"{text[:64]!r} is no member id: {_ALLOWED}")
    return text


def _validate_annotator_id(text: str) -> str:
    if not _ANNOTATOR_ID.fullmatch(text):
        raise ValueError(f"{text[:64]!r} is no member id: small letters, digits, '.', '_' and '-' only")
    return text


MemberId = Annotated[str, AfterValidator(_validate_member_id)]
AnnotatorId = Annotated[str, AfterValidator(_validate_annotator_id)]  # also of an import, as in `file-name` or `notes.csv`
