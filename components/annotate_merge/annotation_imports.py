"""Imports annotations from tables, Label Studio's exports and Audacity's label tracks.

An unreadable file stops the step; an invalid answer is refused with its reason. Tables: `member`; one of `segment`, `recording`,
`file`; any of the facets and `tags` (words joined by `;`, `,` or `|`); `words`; where a recording is named, `start_s` and `end_s`
select a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from audiotune.domain.annotation import Annotation
from audiotune.domain.label_tracks import is_label_track
from audiotune.domain.tables import decode_text, parse_table
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import AudioTuneError, SourceError
from audiotune.governance import Agreement
from audiotune.store.port import Store
from components.annotate_merge.imported_answers import ImportedAnswer, parse_answer_table, parse_label_track
from components.annotate_merge.label_studio import is_label_studio_table, parse_label_studio_json, parse_label_studio_table
from components.annotate_merge.segment_index import SegmentIndex
from components.annotate_merge.sources import LONGEST_WORDS, GatheredAnnotations, refusal_reason

_LARGEST = 64 << 20  # bytes of an import


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
    """A table, a Label Studio export or a label track.

    Args:
        members: name in the file -> member id, for files that name members by number or address. `*` is everybody not named; for
            a label track, which names nobody, also the file's own name.

    Raises:
        SourceError: the whole file cannot be read; single answers are refused with a reason.
    """
    try:
        source, rows = _parse_import(name, decode_text(data, name))
        answers = list(rows)
    except RecursionError as e:
        raise SourceError("it is nested too deeply", where=name, cure="export it again") from e
    except SourceError:
        raise
    except ValueError as e:
        raise SourceError(
            f"no table, Label Studio export or label track: {e}", where=name, cure="export it again as UTF-8"
        ) from e
    gathered, shown = GatheredAnnotations(), PurePosixPath(name.replace("\\", "/")).name[-200:]
    for number, row in enumerate(answers, start=1):
        try:
            if isinstance(row, str):
                raise SourceError(row)
            said = _annotations_from_answer(row, places, agreement, vocabulary, members, source)
            gathered.annotations += [one.model_copy(update={"imported_from": shown}) for one in said]
        except (AudioTuneError, ValueError) as e:
            gathered.refused.append((f"{name}, answer {number}", str(e)[:500]))
    return gathered


def _parse_import(name: str, text: str) -> tuple[str, Iterable[ImportedAnswer | str]]:
    """(source of the annotations, answers), by what the text is."""
    if text.lstrip()[:1] in ("[", "{"):
        return "label_studio", parse_label_studio_json(text)
    if is_label_track(text):
        return "audacity", parse_label_track(text, PurePosixPath(name.replace("\\", "/")).name)
    table = parse_table(text, name)
    if is_label_studio_table(table):
        return "label_studio", parse_label_studio_table(table)
    return "csv", parse_answer_table(table)


def _annotations_from_answer(
    row: ImportedAnswer,
    places: SegmentIndex,
    agreement: Agreement,
    vocabulary: Vocabulary,
    members: Mapping[str, str],
    source: str,
) -> list[Annotation]:
    member = members.get(row.member) or (row.member if agreement.find_member(row.member) else members.get("*", row.member))
    reason = refusal_reason(agreement, member)
    if reason:
        raise SourceError(reason, cure="use a member's id, or name who it is in import_members")
    tags, words = _sort_terms(row, vocabulary)
    if len(words) > LONGEST_WORDS:
        raise SourceError(f"{len(words)} letters of words", cure=f"write at most {LONGEST_WORDS}")
    if not words and not tags:
        raise SourceError("it says nothing", cure="leave the row out")
    found = places.find(row.places, row.part)
    return [Annotation(segment=segment.id, member=member, tags=tags, words=words, source=source) for segment in found]


def _sort_terms(row: ImportedAnswer, vocabulary: Vocabulary) -> tuple[dict[str, tuple[str, ...]], str]:
    """(facet -> term ids, free words) of an answer. A term's id may stand for its word; what is no term becomes free words."""
    tags, unknown = dict[str, list[str]](), list[str]()
    chosen = [(facet, word) for facet, words in row.tags.items() for word in words] + [("", word) for word in row.labels]
    for facet, word in chosen:
        term = vocabulary.get_term(word)
        terms = [one for one in ([term] if term else vocabulary.find_terms(word)) if not facet or one.facet == facet]
        if terms:
            tags.setdefault(terms[0].facet, []).append(terms[0].id)
        else:
            unknown.append(word)
    return {facet: tuple(dict.fromkeys(ids)) for facet, ids in tags.items()}, " ".join(filter(None, [row.words, *unknown]))
