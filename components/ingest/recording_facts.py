"""What people say about a recording beside its sound: who plays, its licence, session, instrument and a description in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from audiotune.domain.label_tracks import TimeLabel
from audiotune.domain.recording import MOST_CONTRIBUTORS
from audiotune.errors import SourceError

LONGEST_WORDS = 2000
# What people and other programs call a field, in the order that counts: the field itself first.
_NAMES = {
    "contributors": "contributors contributor musicians musician players player performers performer participants members who "
    "who_plays played_by mitwirkende mitwirkender musiker musikerinnen spieler gespielt_von musiciens músicos musicisti",
    "licence": "licence license lizenz licencia licenza",
    "session": "session jam",
    "instrument": "instrument instruments",
    "words": "words caption description prompt text captions transcription beschreibung",
}
_FIELDS = {name: field for field, names in _NAMES.items() for name in names.split()}
_QUOTES = "\"'`´“”„‟«»‘’‚"
_SEPARATORS = re.compile(rf"[,;&+/|\s{_QUOTES}]+")


@dataclass(frozen=True)
class RecordingFacts:
    """Metadata of a recording; empty where nothing is known."""

    contributors: tuple[str, ...] = ()
    licence: str = ""
    session: str = ""
    instrument: str = ""
    words: str = ""
    labels: tuple[TimeLabel, ...] = ()

    def with_defaults(self, other: RecordingFacts) -> RecordingFacts:
        """These facts, completed by the other's."""
        return replace(other, **{f.name: value for f in fields(self) if (value := getattr(self, f.name))})


def find_field(name: str) -> str:
    """The field that a column or key means; "" for none."""
    return _FIELDS.get(tidy_name(name), "")


def tidy_name(name: str) -> str:
    """A column's name in small letters with `_` for blanks, without quotes and what else spreadsheets put around it."""
    return re.sub(r"[\s-]+", "_", name.strip(_QUOTES + ":*?#. \t\u200b\ufeff").casefold())


def split_member_ids(text: str) -> tuple[str, ...]:
    """The member ids of a text such as `ana, ben`, separated by commas, semicolons, `&`, `+`, `/`, `|` or blanks."""
    return tuple(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))


def check_contributors(members: Sequence[str], where: str) -> None:
    """Raises SourceError when a recording names more people than can be asked."""
    if len(members) > MOST_CONTRIBUTORS:
        what = f"it names {len(members)} contributors, {MOST_CONTRIBUTORS} are the most"
        raise SourceError(what, where=where, cure="name those who are heard in it")


def facts_from_mapping(data: Mapping[str, Any], where: str, people: Collection[str] = ()) -> RecordingFacts:
    """The facts of a row or a sidecar.

    Args:
        people: ids and names of members, in small letters.

    Raises:
        SourceError: a field that does not fit, or one that is not known and seems to say who plays.
    """
    _check_other_fields(data, where, people)
    given: dict[str, Any] = {}
    for key in sorted(data, key=_rank_name):
        given.setdefault(find_field(key), data[key])
    members = given.get("contributors") or ()
    members = split_member_ids(members) if isinstance(members, str) else members
    if not isinstance(members, list | tuple) or not all(isinstance(member, str) for member in members):
        raise SourceError("contributors must be a list of member ids", where=where, cure='write ["ana", "ben"]')
    check_contributors(members, where)
    words = next(
        (data[key] for key in sorted(data, key=_rank_name) if find_field(key) == "words" and isinstance(data[key], str)), ""
    )
    return RecordingFacts(
        contributors=tuple(dict.fromkeys(member.strip() for member in members if member.strip())),
        licence=_text_field(given, "licence", where),
        session=_text_field(given, "session", where),
        instrument=_text_field(given, "instrument", where),
        words=words.strip()[:LONGEST_WORDS],
    )


def _rank_name(name: str) -> int:
    """Where a name stands among those of its field."""
    return list(_FIELDS).index(tidy_name(name)) if find_field(name) else len(_FIELDS)


def _check_other_fields(data: Mapping[str, Any], where: str, people: Collection[str]) -> None:
    """Raises SourceError for a field that is not known and nearly `contributors` or `licence`, or that holds nothing but members."""
    for key, value in data.items():
        if find_field(key) or not value:
            continue
        said = value if isinstance(value, list | tuple) else [value]
        parts = [part.strip() for one in said for part in re.split(r"[,;&+/|]", str(one))]
        names = [name for part in parts for name in ([part] if part.casefold() in people else split_member_ids(part))]
        meant = difflib.get_close_matches(tidy_name(key), ("contributors", "contributor", "licence", "license"), 1, 0.8)
        if not meant and names and all(name.casefold() in people for name in names):
            meant = ["contributors"]
        if meant:
            what = f"it says {key[:60]!r}, which is no field, and seems to mean {meant[0]!r}"
            raise SourceError(what, where=where, cure=f"call it {meant[0]!r}, or take it away")


def _text_field(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise SourceError(f"{key} must be text", where=where, cure="put it in quotes")
    return value.strip()[:200]
