"""Tables about the recordings of a folder: our `recordings.toml` and `.csv`, and tables that other programs write.

What a row says is never passed over: a row that names no file is listed as unused, and a file that it nearly names is not taken in.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from audiotune.domain.name_matching import NameMatcher, normalise_name
from audiotune.domain.tables import TableRow, parse_table
from audiotune.errors import SourceError
from components.ingest.recording_facts import RecordingFacts, facts_from_mapping, find_field, tidy_name

_OURS = "recordings"
_STEMS = (_OURS, "recording", "metadata", "captions", "prompts")
_KINDS = (".toml", ".csv", ".tsv", ".jsonl", ".json")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".gsheet")
# A table's name, also as browsers and spreadsheets change it: `recordings - Sheet1.csv`, `Recordings (1).csv`, `recordings.csv.txt`.
_NAME = re.compile(
    rf"({'|'.join(_STEMS)})(?![a-z]).*?({'|'.join(map(re.escape, (*_KINDS, *_SPREADSHEETS)))})(\.txt)?", re.IGNORECASE
)
_FILE_COLUMNS = (
    *("file", "file_name", "filename", "file_path", "filepath", "path", "audio", "audio_path", "audio_file", "recording", "take"),
    *("dateiname", "datei", "aufnahme", "fichier", "archivo"),
)
_PARTS = ("segment", "start_s", "start", "end_s", "end")  # columns of tables that are about parts of recordings
_MOST_PATTERNS = 200  # of one table
_LISTED = 200  # unused rows of one table that a report names


class FolderTable:
    """A table's facts by file.

    Args:
        name: of the table inside its source.
        rows: (written file name, what the row says or why it cannot be trusted). An empty file name means all files.
        files: sounds in the table's folder and below, by their names inside the source.
        columns: columns of the table that say nothing we know.
        people: ids and names of members, in small letters.
    """

    def __init__(
        self,
        name: str,
        rows: Iterable[tuple[str, Mapping[str, Any] | str]],
        files: Iterable[str] = (),
        columns: Iterable[str] = (),
        people: Collection[str] = (),
    ) -> None:
        self.name, self._people = name, people
        self.unused: list[str] = [f"columns that are not used: {', '.join(columns)}"] if columns else []
        self._all = RecordingFacts()
        self._facts: dict[str, RecordingFacts] = {}
        self._faults: dict[str, SourceError] = {}
        self._general: list[tuple[str, Mapping[str, Any] | str, str]] = []  # rows about a folder or a pattern, for each file
        folder = PurePosixPath(name).parent
        inside = {PurePosixPath(file).relative_to(folder).as_posix(): file for file in files}
        groups = _GroupFinder(inside)
        matcher, misses = NameMatcher(inside), list[tuple[str, tuple[str, ...]]]()
        for written, said in rows:
            if not written:
                self._all = facts_from_mapping(said, name, people) if isinstance(said, Mapping) else self._all
                continue
            if isinstance(said, str) and len(self.unused) < _LISTED:
                self.unused.append(f"the row for {written[:120]!r} cannot be read: {said}")
            match = matcher.find_everywhere(written)
            for file in (inside[found] for found in match.names):
                self._add(file, written, said)
            if not match.names and (many := groups.find(written)):
                self._general += [(written, said, inside[found]) for found in many]
            elif not match.names:
                misses.append((written, tuple(inside[near] for near in match.near)))
        for written, said, file in self._general:
            self._add(file, written, said, general=True)
        self._note_misses(misses)

    def facts_about(self, file: str) -> RecordingFacts:
        """Raises SourceError when a row about this file, or about one of nearly its name, cannot be trusted."""
        if file in self._faults:
            raise self._faults[file]
        return self._facts.get(file, RecordingFacts()).with_defaults(self._all)

    def _add(self, file: str, written: str, said: Mapping[str, Any] | str, *, general: bool = False) -> None:
        if isinstance(said, str):
            cure = "mend the row"
            self._faults[file] = SourceError(f"the row for {written[:80]!r} cannot be read: {said}", where=self.name, cure=cure)
            return
        known = self._facts.get(file, RecordingFacts())
        try:
            facts = facts_from_mapping(said, self.name, self._people)
            if not general and known.contributors and facts.contributors and set(known.contributors) != set(facts.contributors):
                who = " and ".join(", ".join(one.contributors) for one in (known, facts))
                raise SourceError(f"two rows for {written[:80]!r} name {who}", where=self.name, cure="take one of them away")
            self._facts[file] = known.with_defaults(facts)
        except SourceError as e:
            self._faults.setdefault(file, e)

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
    match = _NAME.fullmatch(PurePosixPath(name).name)
    return match is not None and (match[2].lower() != ".toml" or _is_ours(name))


def may_be_table(name: str) -> bool:
    """Whether a file of another name may be one; `table_from_rows` decides by its columns."""
    return PurePosixPath(name).suffix.lower() in (".csv", ".tsv")


def is_spreadsheet(name: str) -> bool:
    """Whether a table is a spreadsheet's own file, which is not read."""
    return PurePosixPath(name).suffix.lower() in _SPREADSHEETS


def rank_table(name: str) -> tuple[int, int, str]:
    """The order in which tables of one folder count: ours first, those of other names last."""
    match = _NAME.fullmatch(PurePosixPath(name).name)
    if not match:
        return len(_STEMS), 0, name
    kinds = (*_KINDS, *_SPREADSHEETS)
    return _STEMS.index(match[1].lower()), kinds.index(match[2].lower()), name


def _is_ours(name: str) -> bool:
    return PurePosixPath(name).name.lower().startswith("recording")


class _GroupFinder:
    """The files that a row about a folder (`night/`) or a pattern (`night/*.wav`) means."""

    def __init__(self, files: Iterable[str]) -> None:
        self._names = {normalise_name(file).casefold(): file for file in files}
        self._folders: dict[str, list[str]] = {}
        self._patterns = 0
        for name, file in self._names.items():
            for folder in PurePosixPath(name).parents:
                self._folders.setdefault(str(folder), []).append(file)

    def find(self, written: str) -> list[str]:
        name = normalise_name(written).casefold()
        if not re.search(r"[*?]", name):
            return self._folders.get(name.rstrip("/"), [])
        self._patterns += 1
        matching = fnmatch.filter(self._names, name) if self._patterns <= _MOST_PATTERNS else []
        return [self._names[found] for found in matching]


def table_from_mapping(name: str, data: Mapping[str, Any], files: Iterable[str], people: Collection[str] = ()) -> FolderTable:
    """`recordings.toml` and JSON of this form: a table for each file; what stands outside them is about all files."""
    rows: list[tuple[str, Mapping[str, Any]]] = [("", {key: value for key, value in data.items() if not isinstance(value, dict)})]
    rows += [(key, value) for key, value in data.items() if key and isinstance(value, dict)]
    return FolderTable(name, rows, files, people=people)


def table_from_rows(name: str, rows: Iterable[TableRow], files: Iterable[str], people: Collection[str] = ()) -> FolderTable:
    """A table whose rows name their files in one of the usual columns. Raises SourceError: it has none of them."""
    every, inside = list(rows), list(files)
    columns = {column: tidy_name(column) for row in every for column in row.cells}
    file_column = next((column for wanted in _FILE_COLUMNS for column, tidy in columns.items() if tidy == wanted), "")
    if not is_table(name):
        stated = {find_field(column) for column in columns}
        if not file_column or set(columns.values()) & set(_PARTS) or not stated & {"contributors", "licence"}:
            return FolderTable(name, ())
    elif not every:
        return FolderTable(name, (), (), ["none that could be read: it holds no row"])
    elif not file_column:
        if not _is_ours(name):
            return FolderTable(name, (), (), [f"{', '.join(columns)[:200]} (none of them names a file)"])
        raise SourceError("the table has no column 'file'", where=name, cure="name the first column 'file'")
    other = [column for column, tidy in columns.items() if not find_field(column) and tidy not in _FILE_COLUMNS]
    named = [(_read_cell(row.cells.get(file_column)), row.fault or row.cells) for row in every]
    found = FolderTable(name, [row for row in named if row[0]], inside, other, people)
    nameless = len([row for row in named if not row[0]])
    if nameless:
        found.unused.append(f"{nameless} row{'s' if nameless > 1 else ''} without a file's name")
    for column in (column for column in columns if find_field(column) == "contributors"):
        empty = sum(not row.cells.get(column) for row in every)
        if 0 < empty < len(every):
            words = f"{empty} rows leave {column!r} empty: who is named for all counts there"
            found.unused.append(f"{words} (of merged cells only the first one holds the names)")
    return found


def parse_rows(text: str, name: str) -> Iterator[TableRow]:
    """The rows of a CSV, JSON Lines or JSON table. Raises SourceError: it is damaged."""
    suffix = (match := _NAME.fullmatch(PurePosixPath(name).name)) and match[2].lower()
    if suffix not in (".jsonl", ".json"):
        yield from parse_table(text, name).rows
        return
    for row in _parse_json_rows(text, name, lines=suffix == ".jsonl"):
        if isinstance(row, dict):
            yield TableRow({str(key).strip().lower(): value for key, value in row.items()})
        else:
            yield TableRow({}, "it is no JSON object with names and values")


def _parse_json_rows(text: str, name: str, *, lines: bool) -> Iterator[Any]:
    if not lines:
        rows = json.loads(text)
        yield from rows if isinstance(rows, list) else [rows]
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as e:
            raise SourceError(f"line {number} is cut or damaged: {e}", where=name, cure="mend it or take it away") from e


def _read_cell(value: Any) -> str:
    """A file's name as a row has it, without quotes that belong to no name."""
    text = "" if value is None or isinstance(value, bool | dict | list) else str(value).strip()
    return text.strip('“”„"') or ""
