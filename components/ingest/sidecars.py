"""Metadata of a recording: from a sidecar file, a table for its folder, the settings, or the agreement.

The first of these applies: `take.json`, `take.wav.json` or `.toml` beside `take.wav`; `recordings.toml` or `recordings.csv`
in its folder or a parent; the settings; the agreement's licence. `take.txt` contains a description in words.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any

from audiotune.errors import SourceError
from components.ingest.sources import RecordingSource

_LARGEST = 4 << 20  # bytes of a sidecar
_LONGEST_WORDS = 2000
_WORDS = ("words", "caption", "description", "prompt", "text")  # other names of the field `words`


@dataclass(frozen=True)
class RecordingFacts:
    """Metadata of a recording; empty where nothing is known."""

    contributors: tuple[str, ...] = ()
    licence: str = ""
    session: str = ""
    instrument: str = ""
    words: str = ""

    def with_defaults(self, other: RecordingFacts) -> RecordingFacts:
        """These facts, completed by the other's."""
        return replace(other, **{f.name: value for f in fields(self) if (value := getattr(self, f.name))})


class SidecarReader:
    """Finds the metadata of files; reads each table once."""

    def __init__(self, source: RecordingSource) -> None:
        self._source = source
        self._files = set(source.files)
        self._tables: dict[str, dict[str, RecordingFacts]] = {}

    def facts_about(self, name: str) -> RecordingFacts:
        """All facts about a file. Raises SourceError for an invalid sidecar: contributors must not be guessed."""
        path = PurePosixPath(name)
        beside = [path.with_suffix(".json"), path.with_suffix(".toml"), f"{path}.json", f"{path}.toml"]
        facts = RecordingFacts()
        for sidecar in map(str, beside):
            if sidecar in self._files and PurePosixPath(sidecar).stem != "recordings":
                facts = facts.with_defaults(_facts_from_mapping(self._read_mapping(sidecar), sidecar))
        words = str(path.with_suffix(".txt"))
        if words in self._files:
            facts = facts.with_defaults(RecordingFacts(words=self._read_text(words).strip()[:_LONGEST_WORDS]))
        for folder in path.parents:
            facts = facts.with_defaults(self._facts_from_tables(folder, path))
        return facts

    def _facts_from_tables(self, folder: PurePosixPath, path: PurePosixPath) -> RecordingFacts:
        facts = RecordingFacts()
        for kind in ("toml", "csv"):
            table = str(folder / f"recordings.{kind}")
            if table not in self._files:
                continue
            if table not in self._tables:
                self._tables[table] = self._read_table(table)
            rows = self._tables[table]
            inside = path.relative_to(folder).as_posix()
            for key in (inside, str(PurePosixPath(inside).with_suffix("")), path.name, ""):
                facts = facts.with_defaults(rows.get(key, RecordingFacts()))
        return facts

    def _read_table(self, name: str) -> dict[str, RecordingFacts]:
        """File -> facts; the empty name means all files."""
        if name.endswith(".toml"):
            data = self._read_mapping(name)
            rows = {key: _facts_from_mapping(value, name) for key, value in data.items() if isinstance(value, dict)}
            rows[""] = _facts_from_mapping({key: value for key, value in data.items() if not isinstance(value, dict)}, name)
            return rows
        reader = csv.DictReader(io.StringIO(self._read_text(name), newline=""))
        try:
            lines = list(reader)
        except csv.Error as e:
            raise SourceError(f"the table is damaged: {e}", where=name, cure="export it again as CSV") from e
        if "file" not in (reader.fieldnames or ()):
            raise SourceError("the table has no column 'file'", where=name, cure="name the first column 'file'")
        return {str(line["file"]).strip(): _facts_from_mapping(line, name) for line in lines}

    def _read_mapping(self, name: str) -> dict[str, Any]:
        text = self._read_text(name)
        try:
            data = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
        except (ValueError, RecursionError) as e:
            raise SourceError(f"the sidecar is cut or damaged: {e}", where=name, cure="mend it or take it away") from e
        return data if isinstance(data, dict) else {}  # a list beside a sound is not a sidecar

    def _read_text(self, name: str) -> str:
        with self._source.open(name) as path:
            if path.stat().st_size > _LARGEST:
                raise SourceError("the sidecar is larger than 4 MiB", where=name, cure="take it away")
            try:
                return path.read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as e:
                raise SourceError("the sidecar is no UTF-8 text", where=name, cure="save it as UTF-8") from e


def split_member_ids(text: str) -> tuple[str, ...]:
    """The member ids of a text such as `ana, ben`, separated by commas, semicolons or blanks."""
    return tuple(dict.fromkeys(part for part in re.split(r"[,;\s]+", text) if part))


def _facts_from_mapping(data: Mapping[str, Any], where: str) -> RecordingFacts:
    members = data.get("contributors", data.get("contributor")) or ()
    members = split_member_ids(members) if isinstance(members, str) else members
    if not isinstance(members, list | tuple) or not all(isinstance(member, str) for member in members):
        raise SourceError("contributors must be a list of member ids", where=where, cure='write ["ana", "ben"]')
    words = next((data[key] for key in _WORDS if isinstance(data.get(key), str)), "")
    return RecordingFacts(
        contributors=tuple(dict.fromkeys(member.strip() for member in members if member.strip())),
        licence=_text_field(data, "licence", where) or _text_field(data, "license", where),
        session=_text_field(data, "session", where),
        instrument=_text_field(data, "instrument", where),
        words=words.strip()[:_LONGEST_WORDS],
    )


def _text_field(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise SourceError(f"{key} must be text", where=where, cure="put it in quotes")
    return value.strip()[:200]
