"""Annotations from the studio, file names and sidecars. Imported files: `annotation_imports`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from audiotune.domain.annotation import Annotation, keep_newest_annotations
from audiotune.domain.file_name_words import words_from_file_name
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.domain.vocabulary import Vocabulary
from audiotune.governance import Agreement
from audiotune.store.layout import ANNOTATIONS
from audiotune.store.port import Store

FILE_NAME, SIDECAR = "file-name", "sidecar"
NOT_PEOPLE = (FILE_NAME, SIDECAR)
LONGEST_WORDS = 2000


@dataclass
class GatheredAnnotations:
    """Accepted annotations, and (where, why) of refused ones."""

    annotations: list[Annotation] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: GatheredAnnotations) -> None:
        self.annotations += other.annotations
        self.refused += other.refused


def annotations_from_names(
    segments: Iterable[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary
) -> list[Annotation]:
    """One annotation for each segment, from its recording's file name."""
    texts = {id: words_from_file_name(r.name) for id, r in recordings.items()}
    return _annotations_from_text(segments, texts, vocabulary, FILE_NAME, "file_name")


def annotations_from_sidecars(
    segments: Iterable[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary
) -> list[Annotation]:
    """One annotation for each segment, from its recording's sidecar."""
    return _annotations_from_text(segments, {id: r.words for id, r in recordings.items()}, vocabulary, SIDECAR, "sidecar")


def annotations_from_studio(store: Store, segments: Iterable[Segment], agreement: Agreement) -> GatheredAnnotations:
    """The members' annotations from the studio. Damaged ones are refused."""
    known, gathered, read, elsewhere = {segment.id for segment in segments}, GatheredAnnotations(), list[Annotation](), 0
    for entry in store.list(ANNOTATIONS.path):
        if not entry.key.endswith(".json"):
            continue
        if entry.key.split("/")[1] not in known:
            elsewhere += 1
            continue
        try:
            read.append(Annotation.model_validate_json(store.get(entry.key)))
        except ValidationError as e:
            gathered.refused.append((entry.key, f"damaged: {e.errors()[0]['msg']}"))
    if elsewhere:
        gathered.refused.append(("the studio", f"{elsewhere} annotations are of segments that are not in this manifest"))
    for one in keep_newest_annotations(read):
        reason = refusal_reason(agreement, one.member)
        if not reason and one.segment not in known:
            reason = "it is of another segment than its key"
        if reason:
            gathered.refused.append((one.key, reason))
        else:
            gathered.annotations.append(one)
    return gathered


def refusal_reason(agreement: Agreement, member: str) -> str:
    """Why this member's annotation is refused; empty when it is accepted."""
    person = agreement.find_member(member)
    if person is None:
        return f"{member[:60]!r} is no member in the agreement"
    return f"{member} has left the group" if person.left else ""


def _annotations_from_text(
    segments: Iterable[Segment], texts: Mapping[str, str], vocabulary: Vocabulary, member: str, source: str
) -> list[Annotation]:
    tags = {id: vocabulary.find_tags(text)[0] for id, text in texts.items()}
    return [
        Annotation(segment=segment.id, member=member, tags=tags[segment.recording], words=words, source=source)
        for segment in segments
        if (words := texts.get(segment.recording, "")[:LONGEST_WORDS]).strip()
    ]
