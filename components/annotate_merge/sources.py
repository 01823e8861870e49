"""Where descriptions come from: the studio's annotations, file names, sidecars, CSV and Label Studio files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from audiotune import annotation
from audiotune.annotation import Annotation
from audiotune.errors import AudioTuneError, SourceError
from audiotune.recording import Recording
from audiotune.segment import Segment
from audiotune.store.port import Store
from audiotune.vocabulary import FACETS, Vocabulary, plain

FILE_NAME, SIDECAR = "file-name", "sidecar"
NOT_PEOPLE = (FILE_NAME, SIDECAR)
_LONGEST = 2000


@dataclass
class Found:
    """Annotations, and what was refused with its reason: (where, why)."""

    annotations: list[Annotation] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def words_of_name(name: str) -> str:
    """A take's file name as words: path and suffix off, `_` to space, text after `[` off, the take's number off.

    >>> words_of_name("jam/Resonant_FM_laser_1[ben].wav")
    'Resonant FM laser'
    """
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", stem).split("[", 1)[0].replace("_", " ")
    return " ".join(re.sub(r"(?:[\s-]+\d+)+\s*$", "", " ".join(stem.split())).split())


def from_names(segments: Iterable[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary) -> list[Annotation]:
    """One annotation a segment, from its recording's file name."""
    return _from_text(segments, {id: words_of_name(r.name) for id, r in recordings.items()}, vocabulary, FILE_NAME, "file_name")


def from_sidecars(segments: Iterable[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary) -> list[Annotation]:
    """One annotation a segment, from what a sidecar said about its recording."""
    return _from_text(segments, {id: r.words for id, r in recordings.items() if r.words}, vocabulary, SIDECAR, "sidecar")


def from_studio(store: Store, segments: Iterable[Segment], members: Iterable[str]) -> Found:
    """What the group's members annotated in the studio."""
    known, people, found = {segment.id for segment in segments}, set(members), Found()
    for one in annotation.all_annotations(store):
        if one.segment not in known:
            continue  # of another dataset
        if one.member in people:
            found.annotations.append(one)
        else:
            found.refused.append((one.key, f"{one.member} is no member in the agreement"))
    return found


def from_file(
    name: str,
    data: bytes,
    segments: list[Segment],
    recordings: Mapping[str, Recording],
    members: Iterable[str],
    vocabulary: Vocabulary,
) -> Found:
    """A CSV or Label Studio export.

    Raises:
        SourceError: the file as a whole cannot be read; single rows are refused with their reason.
    """
    try:
        text = data.decode("utf-8-sig")
        rows = list(_label_studio(text) if text.lstrip().startswith(("[", "{")) else _csv(text))
    except (UnicodeDecodeError, ValueError, csv.Error) as e:
        raise SourceError(f"no CSV or Label Studio JSON: {e}", where=name, cure="export it again as UTF-8") from e
    at, people, found = _Places(segments, recordings), set(members), Found()
    for number, row in enumerate(rows, start=1):
        try:
            found.annotations += _annotations(row, at, people, vocabulary)
        except (AudioTuneError, ValueError) as e:
            found.refused.append((f"{name}, row {number}", str(e)))
    return found


@dataclass(frozen=True)
class _Row:
    place: str
    member: str
    tags: Mapping[str, str]
    words: str


class _Places:
    """Finds segments by their id, their recording's id or its file name."""

    def __init__(self, segments: list[Segment], recordings: Mapping[str, Recording]) -> None:
        self._found: dict[str, list[Segment]] = {}
        for segment in segments:
            recording = recordings[segment.recording]
            for name in {segment.id, segment.recording, recording.name, PurePosixPath(recording.name).name}:
                self._found.setdefault(name, []).append(segment)

    def find(self, name: str) -> list[Segment]:
        found = self._found.get(name) or self._found.get(PurePosixPath(name).name)
        if not found:
            raise SourceError(f"no segment or recording {name[:80]!r}", cure="use a segment id, a recording id or a file name")
        return found


def _from_text(
    segments: Iterable[Segment], texts: Mapping[str, str], vocabulary: Vocabulary, member: str, source: str
) -> list[Annotation]:
    found = []
    for segment in segments:
        words = texts.get(segment.recording, "")[:_LONGEST]
        if words:
            tags, _ = vocabulary.tags_in(words)
            found.append(Annotation(segment=segment.id, member=member, tags=tags, words=words, source=source))
    return found


def _annotations(row: _Row, at: _Places, people: set[str], vocabulary: Vocabulary) -> Iterator[Annotation]:
    if row.member not in people:
        raise SourceError(f"{row.member[:60]!r} is no member in the agreement", cure="use a member's id")
    tags: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    for facet, cell in row.tags.items():
        ids: list[str] = []
        for word in filter(None, (w.strip() for w in re.split(r"[;,|]", cell))):
            terms = [term for term in vocabulary.find(word) if term.facet == facet]
            (ids if terms else unknown).append(terms[0].id if terms else word)
        if ids:
            tags[facet] = tuple(dict.fromkeys(ids))
    words = " ".join(filter(None, [row.words, *unknown]))
    if len(words) > _LONGEST:
        raise SourceError(f"{len(words)} letters of words", cure=f"write at most {_LONGEST}")
    for segment in at.find(row.place):
        yield Annotation(segment=segment.id, member=row.member, tags=tags, words=words, source="import")


def _csv(text: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    place = next((name for name in ("segment", "recording", "file") if name in columns), None)
    if place is None or "member" not in columns:
        raise ValueError("it needs the columns member and one of segment, recording, file")
    for line in reader:
        cells = {
            (name or "").strip().lower(): (value or "").strip() for name, value in line.items() if isinstance(value, str | None)
        }
        yield _Row(cells[place], cells["member"], {f: cells.get(f, "") for f in FACETS}, cells.get("words", ""))


def _label_studio(text: str) -> Iterator[_Row]:
    tasks = json.loads(text)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError("a Label Studio export is a list of tasks")
    for task in tasks:
        data = task.get("data") or {}
        place = str(data.get("segment") or data.get("file") or data.get("audio") or "")
        for answer in task.get("annotations") or []:
            yield _label_studio_row(place, answer)


def _label_studio_row(place: str, answer: dict[str, Any]) -> _Row:
    by = answer.get("completed_by")
    member = str(by.get("email", by.get("id", "")) if isinstance(by, dict) else by).split("@")[0]
    tags, words = dict[str, str](), list[str]()
    for result in answer.get("result") or []:
        value = result.get("value") or {}
        name = plain(str(result.get("from_name", "")))
        if name in FACETS:
            tags[name] = ";".join([tags.get(name, ""), *map(str, value.get("choices", []))])
        words += map(str, value.get("text") or [])
    return _Row(place, member, tags, " ".join(words))


def read_import(store: Store, name: str) -> bytes:
    """A file by path, or by store key."""
    try:
        return Path(name).read_bytes() if Path(name).is_file() else store.get(name)
    except OSError as e:
        raise SourceError(f"cannot read it: {e.strerror}", where=name, cure="check the path") from e
