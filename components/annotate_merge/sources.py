"""Annotations from the studio, file names and sidecars. Imported files: `annotation_imports`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from components.annotate_merge.imported_answers import part_of_label
from components.annotate_merge.segment_index import select_segments

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
    segments: Sequence[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary
) -> list[Annotation]:
    """One annotation for each segment, from its recording's file name."""
    names = {id: words_from_file_name(r.name) for id, r in recordings.items()}
    texts = {segment.id: names.get(segment.recording, "") for segment in segments}
    return _annotations_from_text(segments, texts, vocabulary, FILE_NAME, "file_name")


def annotations_from_sidecars(
    segments: Sequence[Segment], recordings: Mapping[str, Recording], vocabulary: Vocabulary
) -> GatheredAnnotations:
    """One annotation for each segment: the labels that lie in it, and the words of its recording. Labels in no segment are refused."""
    said: dict[str, list[str]] = {}
    gathered, by_recording = GatheredAnnotations(), dict[str, list[Segment]]()
    for segment in segments:
        by_recording.setdefault(segment.recording, []).append(segment)
    for id, own in by_recording.items():
        for label in (label for label in recordings[id].labels if label.words):
            found = select_segments(own, part_of_label(label))
            for segment in found:
                said.setdefault(segment.id, []).append(label.words)
            if not found:
                gathered.refused.append((recordings[id].name, f"no segment sounds at its label {label.shown}"))
    texts = {one.id: ", ".join(filter(None, [*said.get(one.id, ()), recordings[one.recording].words])) for one in segments}
    gathered.annotations += _annotations_from_text(segments, texts, vocabulary, SIDECAR, "sidecar")
    return gathered


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
    """`texts`: segment id -> what is said about it."""
    tags = {text: vocabulary.find_tags(text)[0] for text in set(texts.values())}
    return [
        Annotation(segment=segment.id, member=member, tags=tags[text], words=words, source=source)
        for segment in segments
        if (words := (text := texts.get(segment.id, ""))[:LONGEST_WORDS]).strip()
    ]
