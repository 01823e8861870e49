"""Writes who said what about a dataset's segments for other programs: a table, Label Studio tasks, Audacity label tracks.

`annotation_imports` reads each of them back. Files: `annotations.csv`, `label_studio.json`, `labels/<take>.txt`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.segment import Segment
from audiotune.domain.vocabulary import FACETS
from components.annotate_merge.croissant import sound_file_name

_COLUMNS = ("segment", "file", "sound", "start_s", "end_s", "member", *FACETS, "words")


def build_label_exports(rows: Iterable[DatasetRow], annotations: Iterable[Annotation]) -> dict[str, str]:
    """File name -> content. `annotations`: of these rows' segments, one for each segment and member."""
    every, said = list(rows), dict[str, list[Annotation]]()
    for one in annotations:
        said.setdefault(one.segment, []).append(one)
    return {
        "annotations.csv": _build_table(every, said),
        "label_studio.json": json.dumps([_build_task(row, said) for row in every], indent=1, ensure_ascii=False) + "\n",
        **dict(_build_label_tracks(every)),
    }


def _build_table(rows: Iterable[DatasetRow], said: Mapping[str, list[Annotation]]) -> str:
    """One line for each annotation; terms by their ids, so that nothing is lost on the way back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        place = {"segment": row.segment.id, "file": row.recording_name, "sound": f"{row.split}/{sound_file_name(row)}"}
        times = {"start_s": round(row.segment.start_s, 3), "end_s": round(_end_s(row.segment), 3)}
        for one in said.get(row.segment.id, ()):
            tags = {facet: ";".join(one.tags.get(facet, ())) for facet in FACETS}
            writer.writerow({**place, **times, "member": one.member, **tags, "words": one.words})
    return text.getvalue()


def _build_task(row: DatasetRow, said: Mapping[str, list[Annotation]]) -> dict[str, Any]:
    """A task of Label Studio: the sound, its caption, and an annotation by each member."""
    data = {"audio": f"{row.split}/{sound_file_name(row)}", "segment": row.segment.id, "caption": row.caption.text}
    answers = [
        {"completed_by": {"email": one.member}, "result": list(_list_results(one))} for one in said.get(row.segment.id, ())
    ]
    return {"data": data, "annotations": answers}


def _list_results(one: Annotation) -> Iterator[dict[str, Any]]:
    for facet, terms in one.tags.items():
        yield {"from_name": facet, "to_name": "audio", "type": "choices", "value": {"choices": list(terms)}}
    if one.words:
        yield {"from_name": "words", "to_name": "audio", "type": "textarea", "value": {"text": [one.words]}}


def _build_label_tracks(rows: Iterable[DatasetRow]) -> Iterator[tuple[str, str]]:
    """(file, label track) of each recording, with the captions as labels. Takes of one name get their id's first digits."""
    by_take: dict[tuple[str, str], list[DatasetRow]] = {}
    for row in rows:
        by_take.setdefault((_track_name(row), row.segment.recording), []).append(row)
    names = [name for name, _ in by_take]
    for (name, recording), of_take in by_take.items():
        unique = name if names.count(name) == 1 else f"{name} {recording[:8]}"
        ordered = sorted(of_take, key=lambda row: row.segment.start_s)
        lines = (
            f"{row.segment.start_s:.6f}\t{_end_s(row.segment):.6f}\t{' '.join(row.caption.text.split())}\n" for row in ordered
        )
        yield f"labels/{unique}.txt", "".join(lines)


def _track_name(row: DatasetRow) -> str:
    """The take's name as a file name of every system."""
    stem = PurePosixPath(row.recording_name.replace("\\", "/")).stem
    return "".join(letter if letter.isalnum() or letter in " -_().#" else "_" for letter in stem).strip(" .")[:120] or "take"


def _end_s(segment: Segment) -> float:
    return segment.start_s + segment.duration_s
