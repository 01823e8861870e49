"""Reads Label Studio's exports: JSON, JSON_MIN and CSV, in the forms that its own templates write.

Choices, labels and taxonomies of a control named like a facet (`mood`, `mood_choices`) are tags of this facet; of other controls they
are labels. Text areas are free words. Ratings, numbers and dates say nothing in words and are told as such.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from audiotune.domain.tables import Table
from audiotune.domain.vocabulary import FACETS, normalise_text
from components.annotate_merge.imported_answers import PLACE_COLUMNS, WHOLE, ImportedAnswer, Part

_CHOSEN = ("choices", "labels", "taxonomy")
_MUTE = ("rating", "number", "datetime", "pairwise", "ranker")  # kinds of values without words
_OWN_COLUMNS = frozenset(
    {"id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement", "annotations", "predictions"}
)
_Values = dict[Part, list[tuple[str, Mapping[str, Any]]]]  # part -> (control, value)


def parse_label_studio_json(text: str) -> Iterator[ImportedAnswer | str]:
    """The answers of JSON or JSON_MIN; a str is the reason why one is refused. Raises ValueError: it is neither."""
    tasks = json.loads(text)
    if not isinstance(tasks, list):
        raise ValueError("a Label Studio export is a list of tasks")
    for task in tasks:
        if isinstance(task, dict) and "annotator" in task and "annotations" not in task:
            yield from _parse_flat_answer(task)
            continue
        data = task.get("data") if isinstance(task, dict) else None
        answers = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(answers, list):
            yield "a task needs data and annotations"
            continue
        for answer in answers:
            if isinstance(answer, dict) and not answer.get("was_cancelled"):
                yield from _parse_answer(_list_places(data), answer)


def is_label_studio_table(table: Table) -> bool:
    return {"annotation_id", "annotator"} <= set(table.columns)


def parse_label_studio_table(table: Table) -> Iterator[ImportedAnswer | str]:
    """The answers of a CSV export, whose cells with several values hold JSON."""
    for row in table.rows:
        if row.fault:
            yield row.fault
        else:
            yield from _parse_flat_answer({column: _parse_cell(cell) for column, cell in row.cells.items()})


def _parse_cell(cell: str) -> Any:
    """The value of a cell: JSON where it is a list or an object, else text."""
    try:
        return json.loads(cell) if cell[:1] in ("[", "{") else cell
    except ValueError:
        return cell


def _parse_flat_answer(task: Mapping[str, Any]) -> Iterator[ImportedAnswer | str]:
    """One task of JSON_MIN or CSV: the task's data and every control's values side by side."""
    values: _Values = {}
    places = _list_places(task)
    for control, value in task.items():
        if control not in _OWN_COLUMNS and control not in PLACE_COLUMNS and not _is_path(value):
            _sort_flat_values(control, value, values)
    yield from _build_answers(places, _name_author(task.get("annotator")), values)


def _sort_flat_values(control: str, value: Any, values: _Values) -> None:
    """Adds what a control says, by the part of the sound that it is about."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, dict):
            values.setdefault(_find_part(item), []).append((control, item))
        elif isinstance(item, list):
            values.setdefault(WHOLE, []).append((control, {"taxonomy": [item]}))
        elif isinstance(item, str) and item.strip():
            kind = "choices" if _find_facet(control) or isinstance(value, list) else "text"
            values.setdefault(WHOLE, []).append((control, {kind: [item]}))
        elif isinstance(item, int | float):
            values.setdefault(WHOLE, []).append((control, {"number": item}))


def _parse_answer(places: tuple[str, ...], answer: Mapping[str, Any]) -> Iterator[ImportedAnswer | str]:
    """One answer for each region of a Label Studio annotation, or one for the whole file."""
    results = answer.get("result") or []
    if not isinstance(results, list):
        yield "its result is no list"
        return
    values: _Values = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            yield "a result without a value"
            continue
        values.setdefault(_find_part(value), []).append((str(result.get("from_name", "")), value))
    yield from _build_answers(places, _name_author(answer.get("completed_by")), values)


def _build_answers(places: tuple[str, ...], member: str, values: _Values) -> Iterator[ImportedAnswer | str]:
    for part, said in values.items():
        tags, labels, words, mute = dict[str, tuple[str, ...]](), list[str](), list[str](), list[str]()
        for control, value in said:
            for facet, chosen in _list_chosen(control, value):
                if facet:
                    tags[facet] = (*tags.get(facet, ()), chosen)
                else:
                    labels.append(chosen)
            words += [str(text) for text in _as_list(value.get("text"))]
            mute += [control for kind in _MUTE if kind in value]
        if tags or labels or words or not mute:
            yield ImportedAnswer(places, member, tags, tuple(labels), " ".join(words), part)
        else:
            yield f"a rating, number or date is not used ({', '.join(mute)})"


def _list_chosen(control: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(facet or nothing, chosen word) of a value. A taxonomy's path begins with a facet, or its control is named like one."""
    facet = _find_facet(control)
    for item in (item for kind in _CHOSEN for item in _as_list(value.get(kind))):
        path = [str(step) for step in item] if isinstance(item, list) else [str(item)]
        if path:
            yield facet or (_find_facet(path[0]) if len(path) > 1 else ""), path[-1]


def _is_path(value: Any) -> bool:
    """Whether a value is the address of a sound under a key of the group's own: it is no answer."""
    return isinstance(value, str) and re.fullmatch(r"\S*/.*\.[A-Za-z0-9]{2,4}", value) is not None


def _find_facet(control: str) -> str:
    return next((word for word in normalise_text(control).split() if word in FACETS), "")


def _find_part(value: Mapping[str, Any]) -> Part:
    start, end = value.get("start"), value.get("end")
    return (float(start), float(end)) if isinstance(start, int | float) and isinstance(end, int | float) else WHOLE


def _name_author(author: Any) -> str:
    return str((author.get("email") or author.get("id") or "") if isinstance(author, dict) else author)


def _list_places(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of a task's data that may name its sound, the usual keys first."""
    keys = (*PLACE_COLUMNS, *(key for key in data if key not in PLACE_COLUMNS))
    return tuple(dict.fromkeys(str(data[key]) for key in keys if isinstance(data.get(key), str) and data[key]))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
