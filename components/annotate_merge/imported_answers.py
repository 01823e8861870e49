"""One answer of an imported file, and the readers of tables and of Audacity's label tracks. Label Studio: `label_studio`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from audiotune.domain import label_tracks
from audiotune.domain.tables import Table, parse_seconds
from audiotune.domain.vocabulary import FACETS

PLACE_COLUMNS = ("segment", "recording", "file", "file_name", "filename", "path", "audio", "url", "sound", "wav")
_MEMBER_COLUMNS = ("member", "annotator", "completed_by", "annotated_by")
_WORDS_COLUMNS = ("words", "caption", "description", "prompt", "text", "comment")
_START_COLUMNS, _END_COLUMNS = ("start_s", "start", "begin", "onset"), ("end_s", "end", "offset")
POINT_S = 0.05  # a label without length means the segment that sounds there

Part = tuple[float, float]
WHOLE: Part = (0.0, float("inf"))


@dataclass(frozen=True)
class ImportedAnswer:
    """One answer of a file.

    Attributes:
        places: what may name the segment, the recording or its file; the first that is known counts.
        member: as the file calls its author.
        tags: facet -> words chosen for it.
        labels: words chosen for no facet.
        part: start and end in seconds within the recording, if a recording is named.
    """

    places: tuple[str, ...]
    member: str
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    words: str = ""
    part: Part = WHOLE


def split_words(cell: str) -> tuple[str, ...]:
    """The words of a cell, separated by semicolons, commas or bars."""
    return tuple(filter(None, (word.strip() for word in re.split(r"[;,|]", cell))))


def parse_answer_table(table: Table) -> Iterator[ImportedAnswer | str]:
    """The rows; a str is the reason why a row is refused. Raises ValueError: no column names the member or the place."""
    columns = set(table.columns)
    if not columns & set(PLACE_COLUMNS) or not columns & set(_MEMBER_COLUMNS):
        raise ValueError("it needs the columns member and one of segment, recording, file")
    for row in table.rows:
        if row.fault:
            yield f"it has more or fewer cells than the table has columns: {row.fault}"
            continue
        try:
            part = (parse_seconds(_find_cell(row.cells, _START_COLUMNS) or "0"), _parse_end(_find_cell(row.cells, _END_COLUMNS)))
        except ValueError:
            yield "start_s and end_s must be numbers of seconds"
            continue
        yield ImportedAnswer(
            tuple(filter(None, (row.cells.get(name, "") for name in PLACE_COLUMNS))),
            _find_cell(row.cells, _MEMBER_COLUMNS),
            {facet: split_words(row.cells.get(facet, "")) for facet in FACETS},
            split_words(row.cells.get("tags", "") or row.cells.get("labels", "")),
            _find_cell(row.cells, _WORDS_COLUMNS),
            part,
        )


def parse_label_track(text: str, name: str) -> Iterator[ImportedAnswer | str]:
    """The labels of one take that have words.

    Args:
        name: of the file: that of its take, with `labels` behind it or not. It also stands for the author.
    """
    path, track = PurePosixPath(name), label_tracks.parse_label_track(text)
    places = tuple(dict.fromkeys((path.stem, re.sub(r"[-_ .]*labels?$", "", path.stem, flags=re.IGNORECASE))))
    yield from track.faults
    for label in track.labels:
        if label.words:
            yield ImportedAnswer(places, path.name, labels=split_words(label.words), part=part_of_label(label))


def part_of_label(label: label_tracks.TimeLabel) -> Part:
    """The part of its recording that a label is about."""
    return label.start_s, max(label.end_s, label.start_s + POINT_S)


def _find_cell(cells: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((cells[name] for name in names if cells.get(name)), "")


def _parse_end(cell: str) -> float:
    return parse_seconds(cell) if cell else WHOLE[1]
