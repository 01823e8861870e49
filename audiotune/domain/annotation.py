"""Annotation: what one member heard in one segment. Small objects in the store, append-only: a member's newest one counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import AnnotatorId
from audiotune.domain.recording import Digest
from audiotune.store.layout import ANNOTATIONS
from audiotune.store.port import Store


class Annotation(FrozenModel):
    """Tags by facet and free words.

    Attributes:
        segment: id of the segment that was heard.
        member: id of the member who heard it (or of an import, as in `file-name`).
        time: when, with time zone.
        tags: facet -> term ids of the vocabulary.
        words: free words, kept as they were written.
        source: studio, file_name, sidecar, csv, label_studio, ...
        imported_from: the file that says so in this member's name; empty for what they said themselves.
    """

    segment: Digest
    member: AnnotatorId
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    tags: dict[str, tuple[str, ...]] = {}
    words: str = Field(default="", max_length=2000)
    source: str = "studio"
    imported_from: str = ""

    @property
    def key(self) -> str:
        return ANNOTATIONS.key(self.segment, self.member, f"{self.time.astimezone(UTC):%Y%m%dT%H%M%S%f}.json")

    def to_bytes(self) -> bytes:
        """JSON, without the field that programs of 0.2 do not know where it says nothing."""
        return self.model_dump_json(exclude=None if self.imported_from else {"imported_from"}).encode()


def save_annotation(store: Store, annotation: Annotation) -> str:
    """Appends an annotation; never overwrites one. Raises AlreadyInStoreError for the same instant twice."""
    store.put(annotation.key, annotation.to_bytes(), only_new=True)
    return annotation.key


def read_segment_annotations(store: Store, segment: Digest) -> list[Annotation]:
    """The newest annotation of each member for a segment, by member id."""
    keys = [entry.key for entry in store.list(ANNOTATIONS.folder(segment)) if entry.key.endswith(".json")]
    newest = keep_newest_annotations(Annotation.model_validate_json(store.get(key)) for key in keys)
    return sorted(newest, key=lambda a: a.member)


def keep_newest_annotations(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keeps one annotation for each segment, member and source: the last one."""
    kept: dict[tuple[str, str, str], Annotation] = {}
    for annotation in sorted(annotations, key=lambda a: a.time):
        kept[annotation.segment, annotation.member, annotation.source] = annotation
    return list(kept.values())
