"""Annotation in the studio: which segment a member hears next, their answers, and whose answers they may see.

The others' answers to a segment stay hidden until a member has answered it, so that nobody is influenced. The server decides
this; the page never receives an answer that it must not show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from audiotune.domain import annotation
from audiotune.domain.annotation import Annotation
from audiotune.domain.recording import Digest
from audiotune.errors import AudioTuneError, GovernanceError, NotInStoreError
from audiotune.governance import Consent, read_current_agreement
from audiotune.governance.excepted import split_excepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store.layout import ANNOTATIONS
from audiotune.store.port import Store
from services.studio.library import Library, LibraryCache
from services.studio.vocabulary import StoredVocabulary

_KEY = ANNOTATIONS.compile(r"([0-9a-f]{64})/([^/]+)/([^/]+)\.json")


@dataclass(frozen=True)
class AnnotationProgress:
    """How many segments there are and how many are answered: by one member, by anybody, by all `members`."""

    segments: int
    by_me: int
    by_anyone: int
    by_all: int
    members: int


class AnnotationQueue:
    """Chooses segments for members, shows and saves their answers. Does not import gradio."""

    def __init__(self, store: Store, library_cache: LibraryCache, vocabulary: StoredVocabulary) -> None:
        self._store, self._library_cache, self._vocabulary = store, library_cache, vocabulary

    def list_active_members(self) -> dict[str, str]:
        """Member id -> name, of everybody who has not left."""
        agreement = read_current_agreement(self._store)
        return {m.id: m.name for m in agreement.members if not m.left} if agreement else {}

    def list_answered_segments(self) -> set[Digest]:
        """Segments that at least one member has answered."""
        return set(self._list_answers_by_segment())

    def count_progress(self, member: str) -> AnnotationProgress:
        answered_by, members = self._list_answers_by_segment(), set(self.list_active_members())
        answers = [answered_by.get(id, set()) for id in self._library_cache.current().segments]
        return AnnotationProgress(
            segments=len(answers),
            by_me=sum(member in annotators for annotators in answers),
            by_anyone=sum(bool(annotators) for annotators in answers),
            by_all=sum(annotators >= members for annotators in answers),
            members=len(members),
        )

    def choose_next_segment(self, member: str, leave: Sequence[Digest] = ()) -> Digest | None:
        """The unanswered segment with the fewest answers; those in `leave` come last. None when all are answered.

        Ties are broken by a hash of member and segment, so that members begin with different segments.
        """
        answered_by = self._list_answers_by_segment()
        segments = self._library_cache.current().segments
        offered, _ = split_excepted(self._list_excepting_consents(), segments.values())
        unanswered = [segment.id for segment in offered if member not in answered_by.get(segment.id, set())]
        order = {id: place for place, id in enumerate(leave)}

        def rank(id: Digest) -> tuple[bool, int, int, str]:
            tie_break = hashlib.sha256(f"{member}/{id}".encode()).hexdigest()
            return id in order, order.get(id, 0), len(answered_by.get(id, ())), tie_break

        return min(unanswered, key=rank, default=None)

    def _list_excepting_consents(self) -> dict[tuple[Digest, str], Consent]:
        """The records by which somebody leaves parts out: nobody needs to describe what comes into no dataset."""
        people = open_ledger(self._store).read_state().consents.items()
        return {(id, who): one for id, records in people for who, one in records.items() if one.excepted}

    def list_answered_by(self, member: str, limit: int = 60) -> list[dict[str, Any]]:
        """The member's answered segments, newest answer first: `id`, `title`."""
        library = self._library_cache.current()
        stamps: dict[Digest, str] = {}
        for segment, annotator, stamp in self._list_answer_keys():
            if annotator == member and segment in library.segments:
                stamps[segment] = max(stamp, stamps.get(segment, ""))
        newest = sorted(stamps, key=lambda id: stamps[id], reverse=True)[:limit]
        return [{"id": id, "title": format_segment_title(library, id)} for id in newest]

    def view_segment(self, member: str, segment: Digest) -> dict[str, Any]:
        """The segment as this member may see it.

        `others` is None until the member has answered; `others_count` is their number. Raises NotInStoreError, GovernanceError.
        """
        library = self._require_segment(member, segment)
        names = self.list_active_members()
        answers = {a.member: a for a in sorted(annotation.read_segment_annotations(self._store, segment), key=lambda a: a.time)}
        own = answers.pop(member, None)
        others = [a for a in answers.values() if a.member in names]
        row = library.segments[segment]
        return {
            "id": segment,
            "title": format_segment_title(library, segment),
            "about": describe_segment(library, segment),
            "seconds": round(row.duration_s, 3),
            "mine": _describe_answer(own, names) if own else None,
            "others": [_describe_answer(a, names) for a in others] if own else None,
            "others_count": len(others),
        }

    def save_answer(self, member: str, segment: Digest, tags: Mapping[str, Sequence[str]], words: str) -> Annotation:
        """Appends the member's answer; their earlier one stays in the store and no longer counts.

        Raises:
            GovernanceError: the agreement does not name this member.
            AudioTuneError: nothing was said, an unknown word, words too long.
        """
        self._require_segment(member, segment)
        known = self._vocabulary.check_tags(tags)
        if not known and not words.strip():
            raise AudioTuneError("nothing is said about this sound yet", cure="choose a word or write some")
        try:
            answer = Annotation(segment=segment, member=member, tags=known, words=words.strip(), source="studio")
        except ValidationError as e:
            raise AudioTuneError(f"the words do not fit: {e.errors()[0]['msg']}", cure="keep them under 2000 letters") from e
        annotation.save_annotation(self._store, answer)
        return answer

    def _require_segment(self, member: str, segment: Digest) -> Library:
        if member not in self.list_active_members():
            raise GovernanceError(f"{member!r} is no member in the agreement", cure="choose who you are at the top of the page")
        library = self._library_cache.current()
        if segment not in library.segments:
            raise NotInStoreError("this segment is not in the library", where=segment[:12], cure="load the page again")
        return library

    def _list_answers_by_segment(self) -> dict[Digest, set[str]]:
        """Segment -> members who answered it. Read from the keys alone: thousands of answers cost one listing."""
        names, answered_by = self.list_active_members(), dict[Digest, set[str]]()
        for segment, annotator, _ in self._list_answer_keys():
            if annotator in names:
                answered_by.setdefault(segment, set()).add(annotator)
        return answered_by

    def _list_answer_keys(self) -> Iterator[tuple[Digest, str, str]]:
        """Segment, member and time of every answer."""
        for entry in self._store.list(ANNOTATIONS.path):
            if match := _KEY.fullmatch(entry.key):
                yield match[1], match[2], match[3]


def format_segment_title(library: Library, segment: Digest) -> str:
    """A name for people: the recording's name and where the segment starts."""
    row = library.segments[segment]
    recording = library.recordings.get(row.recording)
    name = recording.name.rpartition("/")[2] if recording else row.recording[:12]
    return f"{name} · {int(row.start_s // 60)}:{row.start_s % 60:04.1f}"


def describe_segment(library: Library, segment: Digest) -> str:
    """Session, instrument and people of the recording, in one line."""
    row = library.segments[segment]
    recording = library.recordings.get(row.recording)
    if recording is None:
        return ""
    facts = (recording.session, recording.instrument, ", ".join(recording.contributors), "talk heard" if row.speech else "")
    return " · ".join(filter(None, facts))


def _describe_answer(answer: Annotation, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "member": answer.member,
        "name": names.get(answer.member, answer.member),
        "tags": {facet: list(terms) for facet, terms in answer.tags.items()},
        "words": answer.words,
        "time": answer.time.isoformat(timespec="minutes"),
    }
