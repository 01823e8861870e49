"""Metadata of a recording: from a sidecar file, a table for its folder, the settings, or the agreement.

The first of these applies: `take.json`, `take.wav.json` or `.toml` beside `take.wav`; `recordings.toml`, `recordings.csv` or another
program's table (`folder_tables`) in its folder or a parent; the settings; the agreement's licence. `take.txt` contains a description in
words, or Audacity's labels, as `take.labels.txt` and the like do. What is written for a name that no file has is never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from audiotune.domain.label_tracks import is_label_track, parse_label_track
from audiotune.domain.name_matching import NameMatcher, normalise_name
from audiotune.domain.tables import decode_text
from audiotune.domain.toml_text import parse_toml
from audiotune.errors import SourceError
from components.ingest.folder_tables import (
    FolderTable,
    is_spreadsheet,
    is_table,
    may_be_table,
    parse_rows,
    rank_table,
    table_from_mapping,
    table_from_rows,
)
from components.ingest.recording_facts import LONGEST_WORDS, RecordingFacts, facts_from_mapping
from components.ingest.sources import RecordingSource, may_be_sound

_LARGEST = 4 << 20  # bytes of a sidecar
_LABELS_BEHIND = (".labels", "_labels", "-labels", " labels")  # names of label tracks behind their take's name
_UNREAD = (".yaml", ".yml", ".xml", ".md", ".rtf", ".doc", ".docx", ".srt", ".vtt", ".lab", ".textgrid", ".ini", ".url")
_LISTED = 20  # faults of one label track that a report names


class SidecarReader:
    """Finds the metadata of files; reads each table once.

    Args:
        people: ids and names of the agreement's members: a field that holds nothing else says who plays, whatever it is called.
    """

    def __init__(self, source: RecordingSource, people: Iterable[str] = ()) -> None:
        self._source, self._people = source, frozenset(name.casefold() for name in people)
        self._files = {_comparable(name): name for name in source.files}
        self._sounds = [name for name in source.files if may_be_sound(name)]
        self._table_names = [name for name in source.files if is_table(name) or may_be_table(name)]
        self._table_names.sort(key=rank_table)
        self._tables: dict[str, FolderTable] = {}
        self._label_faults: dict[str, list[str]] = {}

    def facts_about(self, name: str) -> RecordingFacts:
        """All facts about a file. Raises SourceError for an invalid sidecar: contributors must not be guessed."""
        facts, beside = RecordingFacts(), self._find_beside(name)
        for sidecar in beside:
            if sidecar.lower().endswith(".txt"):
                facts = facts.with_defaults(self._read_words_or_labels(sidecar))
            else:
                facts = facts.with_defaults(self._read_sidecar(sidecar))
        stray = "" if beside else next((sidecar for sidecar, near in self._stray_sidecars.items() if name in near), "")
        if stray:
            cure = "give both the same name, or take it away"
            raise SourceError("a sidecar has nearly this file's name, and no file's", where=stray, cure=cure)
        for folder in PurePosixPath(name).parents:
            facts = facts.with_defaults(self._facts_from_tables(folder, name))
        return facts

    def _read_sidecar(self, name: str) -> RecordingFacts:
        return facts_from_mapping(self._parse_mapping(self._read_text(name), name), name, self._people)

    def list_unused(self) -> list[tuple[str, str]]:
        """(place, what it says and why it is about no recording) of all that stands in tables and is used nowhere."""
        tables = [(name, words) for name in self._table_names for words in self._read_table_once(name, or_empty=True).unused]
        tables += [(name, "a file beside a take that is not read") for name in self._unread]
        labels = [(name, words) for name, faults in self._label_faults.items() for words in faults]
        return [
            *tables,
            *labels,
            *((name, f"nearly the name of {', '.join(near[:3])}") for name, near in self._stray_sidecars.items()),
        ]

    def _find_beside(self, name: str) -> list[str]:
        """The sidecars of a file, the strictest first."""
        path = PurePosixPath(name)
        bare = path.with_suffix("")
        names = [f"{bare}.json", f"{bare}.toml", f"{path}.json", f"{path}.toml", f"{bare}.txt", f"{path}.txt"]
        names += [f"{stem}{behind}.txt" for stem in (bare, path) for behind in _LABELS_BEHIND]
        found = (self._files.get(_comparable(str(sidecar)), "") for sidecar in names)
        return [sidecar for sidecar in dict.fromkeys(found) if sidecar and not is_table(sidecar)]

    def _read_words_or_labels(self, name: str) -> RecordingFacts:
        """A text beside a take: words about it, or a label track."""
        text = self._read_text(name)
        if not is_label_track(text):
            return RecordingFacts(words=text.strip()[:LONGEST_WORDS])
        track = parse_label_track(text)
        self._label_faults[name] = list(track.faults[:_LISTED])
        return RecordingFacts(labels=track.labels)

    @cached_property
    def _stray_sidecars(self) -> dict[str, tuple[str, ...]]:
        """Sidecar that lies beside no sound -> the sounds of its folder that it nearly names and that have none."""
        used = {sidecar for name in self._sounds for sidecar in self._find_beside(name)}
        kinds = (".json", ".toml", ".txt")
        stray = [
            name for name in self._files.values() if name.lower().endswith(kinds) and name not in used and not is_table(name)
        ]
        matchers: dict[PurePosixPath, NameMatcher] = {}
        found = {}
        for name in stray:
            folder = PurePosixPath(name).parent
            if folder not in matchers:
                free = [s for s in self._sounds if PurePosixPath(s).parent == folder and not self._find_beside(s)]
                matchers[folder] = NameMatcher(free)
            found[name] = matchers[folder].find(PurePosixPath(name).name).near
        return {name: near for name, near in found.items() if near}

    @cached_property
    def _unread(self) -> list[str]:
        """What lies beside a sound, under its name, in a form that is not read."""
        stems = {_comparable(str(PurePosixPath(name).with_suffix(""))) for name in self._sounds}
        found = [name for name in self._source.files if name.lower().endswith(_UNREAD)]
        return [name for name in found if _comparable(str(PurePosixPath(name).with_suffix(""))) in stems]

    def _facts_from_tables(self, folder: PurePosixPath, name: str) -> RecordingFacts:
        """Raises SourceError: a table cannot be read, or two of them name different people."""
        facts, said_by = RecordingFacts(), ""
        for table in self._table_names:
            if PurePosixPath(table).parent == folder:
                more = self._read_table_once(table).facts_about(name)
                if facts.contributors and more.contributors and set(facts.contributors) != set(more.contributors):
                    what = f"{PurePosixPath(said_by).name} and this table name different people for this file"
                    raise SourceError(what, where=table, cure="take one of the tables away")
                said_by = said_by if facts.contributors else table
                facts = facts.with_defaults(more)
        return facts

    def _read_table_once(self, name: str, *, or_empty: bool = False) -> FolderTable:
        if name not in self._tables:
            try:
                self._tables[name] = self._read_table(name)
            except SourceError as e:
                if not is_table(name):  # another table, of whatever kind
                    self._tables[name] = FolderTable(name, ())
                elif or_empty:
                    return FolderTable(name, ())
                else:
                    raise e
        return self._tables[name]

    def _read_table(self, name: str) -> FolderTable:
        if is_spreadsheet(name):
            raise SourceError("a spreadsheet's own file is not read", where=name, cure="save the table as CSV, or take it away")
        folder = PurePosixPath(name).parent
        inside = [file for file in self._sounds if PurePosixPath(file).is_relative_to(folder)]
        text = self._read_text(name)
        if name.lower().removesuffix(".txt").endswith((".toml", ".json")):
            data = self._parse_mapping(text, name)
            if data or not text.lstrip().startswith("["):
                return table_from_mapping(name, data, inside, self._people)
        return table_from_rows(name, parse_rows(text, name), inside, self._people)

    def _parse_mapping(self, text: str, name: str) -> dict[str, Any]:
        try:
            data = json.loads(text) if name.lower().removesuffix(".txt").endswith(".json") else parse_toml(text)
        except (ValueError, RecursionError) as e:
            raise SourceError(f"the sidecar is cut or damaged: {e}", where=name, cure="mend it or take it away") from e
        return data if isinstance(data, dict) else {}  # a list beside a sound is not a sidecar

    def _read_text(self, name: str) -> str:
        with self._source.open(name) as path:
            if path.stat().st_size > _LARGEST:
                raise SourceError("the sidecar is larger than 4 MiB", where=name, cure="take it away")
            return decode_text(path.read_bytes(), name)


def _comparable(name: str) -> str:
    """A name as Macs and Windows compare it: composed letters, regardless of case."""
    return normalise_name(name).casefold()
