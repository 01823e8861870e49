"""Tables about the recordings of a folder: our `recordings.toml` and `.csv`, and tables that other programs write.

What a row says is never passed over: a row that names no file is listed as unused, and a file that it nearly names is not taken in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from audiotune.domain.name_matching import NameMatcher
from audiotune.domain.tables import TableRow, parse_table
from audiotune.errors import SourceError
from components.ingest.recording_facts import FACT_FIELDS, RecordingFacts, facts_from_mapping

_OURS = "recordings"
_STEMS = (_OURS, "metadata", "captions", "prompts")
_KINDS = (".toml", ".csv", ".tsv", ".jsonl")
_FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "filepath", "path", "audio", "audio_path", "audio_file")
_LISTED = 200  # unused rows of one table that a report names


class FolderTable:
    """A table's facts by file.

    Args:
        name: of the table inside its source.
        rows: (written file name, what the row says or why it cannot be trusted). An empty file name means all files.
        files: sounds in the table's folder and below, by their names inside the source.
        columns: columns of the table that say nothing we know.
    """

    def __init__(
        self,
        name: str,
        rows: Iterable[tuple[str, Mapping[str, Any] | str]],
        files: Iterable[str] = (),
        columns: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.unused: list[str] = [f"columns that are not used: {', '.join(columns)}"] if columns else []
        self._all = RecordingFacts()
        self._facts: dict[str, RecordingFacts] = {}
        self._faults: dict[str, SourceError] = {}
        folder = PurePosixPath(name).parent
        inside = {PurePosixPath(file).relative_to(folder).as_posix(): file for file in files}
        matcher, misses = NameMatcher(inside), list[tuple[str, tuple[str, ...]]]()
        for written, said in rows:
            if not written:
                self._all = facts_from_mapping(said, name) if isinstance(said, Mapping) else self._all
                continue
            match = matcher.find_everywhere(written)
            for file in (inside[found] for found in match.names):
                self._add(file, written, said)
            if not match.names:
                misses.append((written, tuple(inside[near] for near in match.near)))
        self._note_misses(misses)

    def facts_about(self, file: str) -> RecordingFacts:
        """Raises SourceError when a row about this file, or about one of nearly its name, cannot be trusted."""
        if file in self._faults:
            raise self._faults[file]
        return self._facts.get(file, RecordingFacts()).with_defaults(self._all)

    def _add(self, file: str, written: str, said: Mapping[str, Any] | str) -> None:
        if isinstance(said, str):
            cure = "mend the row"
            self._faults[file] = SourceError(f"the row for {written[:80]!r} cannot be read: {said}", where=self.name, cure=cure)
            return
        try:
            self._facts[file] = self._facts.get(file, RecordingFacts()).with_defaults(facts_from_mapping(said, self.name))
        except SourceError as e:
            self._faults[file] = e

    def _note_misses(self, misses: list[tuple[str, tuple[str, ...]]]) -> None:
        """Rows that name no file stop the files that they nearly name, unless those have a row of their own."""
        for written, near in misses:
            free = [file for file in near if file not in self._facts]
            about = f", nearly the name of {', '.join(free[:3])}" if free else ""
            if len(self.unused) < _LISTED:
                self.unused.append(f"the row for {written[:120]!r}: no file has this name{about}")
            for file in free:
                what = f"a row is about {written[:120]!r}, which is nearly this file's name and no file's"
                self._faults[file] = SourceError(
                    what, where=self.name, cure="write the name as the file has it, or take the row away"
                )


def is_table(name: str) -> bool:
    """Whether a file, by its name, is a table about recordings."""
    path = PurePosixPath(name)
    return path.stem in _STEMS and path.suffix in _KINDS and (path.suffix != ".toml" or path.stem == _OURS)


def rank_table(name: str) -> tuple[int, int, str]:
    """The order in which tables of one folder count: ours first."""
    path = PurePosixPath(name)
    return _STEMS.index(path.stem), _KINDS.index(path.suffix), name


def table_from_toml(name: str, data: Mapping[str, Any], files: Iterable[str]) -> FolderTable:
    """`recordings.toml`: a table for each file; what stands outside them is about all files."""
    rows = [("", {key: value for key, value in data.items() if not isinstance(value, dict)})]
    return FolderTable(name, [*rows, *((key, value) for key, value in data.items() if key and isinstance(value, dict))], files)


def table_from_rows(name: str, rows: Iterable[TableRow], files: Iterable[str]) -> FolderTable:
    """A table whose rows name their files in one of the usual columns. Raises SourceError: it has none of them."""
    every = list(rows)
    columns = tuple(dict.fromkeys(column for row in every for column in row.cells))
    file_column = next((column for column in _FILE_COLUMNS if column in columns), "")
    if every and not file_column:
        if PurePosixPath(name).stem != _OURS:
            return FolderTable(name, (), (), [f"{', '.join(columns)[:200]} (none of them names a file)"])
        raise SourceError("the table has no column 'file'", where=name, cure="name the first column 'file'")
    other = [column for column in columns if column not in FACT_FIELDS and column not in _FILE_COLUMNS]
    return FolderTable(name, ((row.cells.get(file_column, ""), row.fault or row.cells) for row in every), files, other)


def parse_rows(text: str, name: str) -> Iterator[TableRow]:
    """The rows of a CSV or JSON Lines table. Raises SourceError: it is damaged."""
    if not name.endswith(".jsonl"):
        yield from parse_table(text, name).rows
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise SourceError(f"line {number} is cut or damaged: {e}", where=name, cure="mend it or take it away") from e
        if isinstance(row, dict):
            yield TableRow({str(key).strip().lower(): value for key, value in row.items()})
