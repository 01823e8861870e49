"""What people say about a recording beside its sound: who plays, its licence, session, instrument and a description in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from audiotune.domain.label_tracks import TimeLabel
from audiotune.domain.recording import MOST_CONTRIBUTORS
from audiotune.errors import SourceError

LONGEST_WORDS = 2000
# Other programs' names of the field `words`.
WORDS_FIELDS = ("words", "caption", "description", "prompt", "text", "captions", "transcription")
FACT_FIELDS = frozenset({"contributors", "contributor", "licence", "license", "session", "instrument", *WORDS_FIELDS})


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


def split_member_ids(text: str) -> tuple[str, ...]:
    """The member ids of a text such as `ana, ben`, separated by commas, semicolons or blanks."""
    return tuple(dict.fromkeys(part for part in re.split(r"[,;\s]+", text) if part))


def check_contributors(members: Sequence[str], where: str) -> None:
    """Raises SourceError when a recording names more people than can be asked."""
    if len(members) > MOST_CONTRIBUTORS:
        what = f"it names {len(members)} contributors, {MOST_CONTRIBUTORS} are the most"
        raise SourceError(what, where=where, cure="name those who are heard in it")


def facts_from_mapping(data: Mapping[str, Any], where: str) -> RecordingFacts:
    members = data.get("contributors", data.get("contributor")) or ()
    members = split_member_ids(members) if isinstance(members, str) else members
    if not isinstance(members, list | tuple) or not all(isinstance(member, str) for member in members):
        raise SourceError("contributors must be a list of member ids", where=where, cure='write ["ana", "ben"]')
    check_contributors(members, where)
    words = next((data[key] for key in WORDS_FIELDS if isinstance(data.get(key), str)), "")
    return RecordingFacts(
        contributors=tuple(dict.fromkeys(member.strip() for member in members if member.strip())),
        licence=_text_field(data, "licence", where) or _text_field(data, "license", where),
        session=_text_field(data, "session", where),
        instrument=_text_field(data, "instrument", where),
        words=words.strip()[:LONGEST_WORDS],
    )


def _text_field(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise SourceError(f"{key} must be text", where=where, cure="put it in quotes")
    return value.strip()[:200]
