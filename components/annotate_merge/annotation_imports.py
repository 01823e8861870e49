"""Imports annotations from CSV tables and Label Studio's JSON. An unreadable file stops the step; an invalid row is refused.

CSV: `member`; one of `segment`, `recording`, `file`; any of the facets (words joined by `;`, `,` or `|`); `words`; where a
recording is named, `start_s` and `end_s` select a part. Label Studio: choices named like facets, textareas, regions with start
and end in seconds; the file by `segment`, `file` or `audio` of the task's data.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from audiotune.domain.annotation import Annotation
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.domain.vocabulary import FACETS, Vocabulary, normalise_text
from audiotune.errors import AudioTuneError, SourceError
from audiotune.governance import Agreement
from audiotune.store.port import Store
from components.annotate_merge.sources import LONGEST_WORDS, GatheredAnnotations, refusal_reason

_LARGEST = 64 << 20  # bytes of an import
_PLACES = ("segment", "recording", "file")
_WHOLE = (0.0, float("inf"))


@dataclass(frozen=True)
class ImportedAnswer:
    """One answer of a file. `part`: start and end in seconds within the recording, if a recording is named."""

    place: str
    member: str
    tags: Mapping[str, str]
    words: str
    part: tuple[float, float] = _WHOLE


class SegmentIndex:
    """Finds segments by their id, their recording's id or its file name."""

    def __init__(self, segments: Sequence[Segment], recordings: Mapping[str, Recording]) -> None:
        self._segments = {segment.id: segment for segment in segments}
        self._by_recording: dict[str, list[Segment]] = {}
        self._recordings_by_name: dict[str, set[str]] = {}
        for segment in segments:
            self._by_recording.setdefault(segment.recording, []).append(segment)
        for id in self._by_recording:
            for name in {id, recordings[id].name, PurePosixPath(recordings[id].name).name}:
                self._recordings_by_name.setdefault(name, set()).add(id)

    def find(self, name: str, part: tuple[float, float]) -> list[Segment]:
        """The segments of a row. Raises SourceError when there are none, or two recordings of that name."""
        if name in self._segments:
            return [self._segments[name]]
        by_name = self._recordings_by_name
        ids = next((by_name[candidate] for candidate in _candidate_names(name) if candidate in by_name), set())
        if len(ids) > 1:
            raise SourceError(f"{len(ids)} recordings are called {name[:80]!r}", cure="use the recording's id")
        found = [segment for id in ids for segment in self._by_recording[id] if _is_inside(segment, part)]
        if not found:
            raise SourceError(f"no segment or recording {name[:80]!r}", cure="use a segment id, a recording id or a file name")
        return found


def read_import(store: Store, name: str) -> bytes:
    """A file by path or store key. Raises SourceError (too large, unreadable) or NotInStoreError (neither file nor key)."""
    try:
        path = Path(name)
        size = path.stat().st_size if path.is_file() else store.size(name)
        if size > _LARGEST:
            raise SourceError(f"it has {size >> 20} MiB, {_LARGEST >> 20} are the most", where=name, cure="split it")
        return path.read_bytes() if path.is_file() else store.get(name)
    except OSError as e:
        raise SourceError(f"cannot read it: {e.strerror}", where=name[:200], cure="check the path") from e


def annotations_from_file(
    name: str,
    data: bytes,
    places: SegmentIndex,
    agreement: Agreement,
    vocabulary: Vocabulary,
    members: Mapping[str, str],
) -> GatheredAnnotations:
    """A CSV table or a Label Studio export.

    Args:
        members: name in the file -> member id, for files that name members by number or address.

    Raises:
        SourceError: the whole file cannot be read; single rows are refused with a reason.
    """
    source = "label_studio" if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")) else "csv"
    try:
        text = data.decode("utf-8-sig")
        rows = list(_parse_label_studio(text) if source == "label_studio" else _parse_csv(text))
    except RecursionError as e:
        raise SourceError("it is nested too deeply", where=name, cure="export it again") from e
    except (UnicodeDecodeError, ValueError, csv.Error) as e:
        raise SourceError(f"no CSV or Label Studio JSON: {e}", where=name, cure="export it again as UTF-8") from e
    gathered = GatheredAnnotations()
    for number, row in enumerate(rows, start=1):
        try:
            if isinstance(row, str):
                raise SourceError(row)
            gathered.annotations += _annotations_from_answer(row, places, agreement, vocabulary, members, source)
        except (AudioTuneError, ValueError) as e:
            gathered.refused.append((f"{name}, answer {number}", str(e)[:500]))
    return gathered


def _annotations_from_answer(
    row: ImportedAnswer,
    places: SegmentIndex,
    agreement: Agreement,
    vocabulary: Vocabulary,
    members: Mapping[str, str],
    source: str,
) -> list[Annotation]:
    member = members.get(row.member, row.member)
    reason = refusal_reason(agreement, member)
    if reason:
        raise SourceError(reason, cure="use a member's id, or name who it is in import_members")
    tags: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    for facet, cell in row.tags.items():
        ids, others = _parse_terms(cell, facet, vocabulary)
        unknown += others
        if ids:
            tags[facet] = ids
    words = " ".join(filter(None, [row.words, *unknown]))
    if len(words) > LONGEST_WORDS:
        raise SourceError(f"{len(words)} letters of words", cure=f"write at most {LONGEST_WORDS}")
    if not words and not tags:
        raise SourceError("it says nothing", cure="leave the row out")
    found = places.find(row.place, row.part)
    return [Annotation(segment=segment.id, member=member, tags=tags, words=words, source=source) for segment in found]


def _parse_terms(cell: str, facet: str, vocabulary: Vocabulary) -> tuple[tuple[str, ...], list[str]]:
    """(term ids of the facet, words that are no terms) of a cell, which may also contain ids."""
    ids, others = list[str](), list[str]()
    for word in filter(None, (w.strip() for w in re.split(r"[;,|]", cell))):
        term = vocabulary.get_term(word)
        terms = [term] if term and term.facet == facet else [t for t in vocabulary.find_terms(word) if t.facet == facet]
        if terms:
            ids.append(terms[0].id)
        else:
            others.append(word)
    return tuple(dict.fromkeys(ids)), others


def _parse_csv(text: str) -> Iterator[ImportedAnswer | str]:
    """The rows; a str is the reason why a row is refused."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    if not set(_PLACES) & set(columns) or "member" not in columns:
        raise ValueError("it needs the columns member and one of segment, recording, file")
    reader.fieldnames = columns
    for line in reader:
        if None in line or None in line.values():
            yield "it has more or fewer cells than the table has columns"
            continue
        cells = {name: value.strip() for name, value in line.items()}
        place = next((cells[name] for name in _PLACES if cells.get(name)), "")
        try:
            part = (float(cells.get("start_s") or 0), float(cells.get("end_s") or "inf"))
        except ValueError:
            yield "start_s and end_s must be numbers of seconds"
            continue
        yield ImportedAnswer(place, cells["member"], {f: cells.get(f, "") for f in FACETS}, cells.get("words", ""), part)


def _parse_label_studio(text: str) -> Iterator[ImportedAnswer | str]:
    tasks = json.loads(text)
    if not isinstance(tasks, list):
        raise ValueError("a Label Studio export is a list of tasks")
    for task in tasks:
        data = task.get("data") if isinstance(task, dict) else None
        answers = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(answers, list):
            yield "a task needs data and annotations"
            continue
        place = next((str(data[name]) for name in ("segment", "recording", "file", "audio") if data.get(name)), "")
        for answer in answers:
            if isinstance(answer, dict) and not answer.get("was_cancelled"):
                yield from _parse_answer(place, answer)


def _parse_answer(place: str, answer: Mapping[str, Any]) -> Iterator[ImportedAnswer | str]:
    """One row for each region of a Label Studio annotation, or one for the whole file."""
    author = answer.get("completed_by")
    member = str((author.get("email") or author.get("id") or "") if isinstance(author, dict) else author)
    parts: dict[tuple[float, float], list[tuple[str, Mapping[str, Any]]]] = {}
    results = answer.get("result") or []
    if not isinstance(results, list):
        yield "its result is no list"
        return
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            yield "a result without a value"
            continue
        start, end = value.get("start"), value.get("end")
        part = (float(start), float(end)) if isinstance(start, int | float) and isinstance(end, int | float) else _WHOLE
        parts.setdefault(part, []).append((normalise_text(str(result.get("from_name", ""))), value))
    for part, values in parts.items():
        tags, words = dict[str, str](), list[str]()
        for name, value in values:
            chosen = [str(x) for key in ("choices", "labels") for x in _as_list(value.get(key))]
            if name in FACETS:
                tags[name] = ";".join(filter(None, [tags.get(name, ""), *chosen]))
            else:
                words += chosen
            words += [str(x) for x in _as_list(value.get("text"))]
        yield ImportedAnswer(place, member, tags, " ".join(words), part)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _candidate_names(name: str) -> Iterator[str]:
    """Possible names of a file: the full name, its last part, and that without Label Studio's prefixes `?d=` and `1a2b3c4d-`."""
    yield name
    url = urlsplit(name) if "?" in name or "%" in name or "://" in name else None
    path = unquote((parse_qs(url.query).get("d") or [url.path])[0]) if url else name
    last = PurePosixPath(path.replace("\\", "/")).name
    yield last
    yield re.sub(r"^[0-9a-f]{8}-", "", last)


def _is_inside(segment: Segment, part: tuple[float, float]) -> bool:
    """Whether at least half of the segment lies in the part."""
    common = min(segment.start_s + segment.duration_s, part[1]) - max(segment.start_s, part[0])
    return common >= segment.duration_s / 2
