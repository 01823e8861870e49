"""Builds captions from merged terms and free words. Every text that is not the main caption becomes a variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import Caption
from audiotune.domain.vocabulary import FACETS, Vocabulary
from components.annotate_merge.merge import Ballot, MergeResult
from components.annotate_merge.sources import FILE_NAME, NOT_PEOPLE, SIDECAR

_SOURCES_BY_RANK = ("studio", "label_studio", "csv", "sidecar", "file_name")  # the first counts when a person answered twice


def collect_ballots(annotations: Iterable[Annotation]) -> dict[str, list[Ballot]]:
    """Facet -> ballots. Each person has one vote per segment; an empty facet is no vote."""
    ballots: dict[str, list[Ballot]] = {facet: [] for facet in FACETS}
    voted = set[tuple[str, str, str]]()
    for one in sorted(annotations, key=_source_order):
        for facet in FACETS:
            terms, vote = frozenset(one.tags.get(facet, ())), (one.segment, one.member, facet)
            if terms and vote not in voted:
                voted.add(vote)
                ballots[facet].append(Ballot(one.segment, one.member, terms, only_positive=one.member in NOT_PEOPLE))
    return ballots


def build_captions(
    annotations: Iterable[Annotation], merged: Mapping[str, MergeResult], vocabulary: Vocabulary, threshold: float
) -> dict[str, Caption]:
    """Segment id -> caption, for every segment with an annotation.

    Args:
        threshold: posterior from which a term is part of the main caption.
    """
    by_segment: dict[str, list[Annotation]] = {}
    for one in sorted(annotations, key=_source_order):
        by_segment.setdefault(one.segment, []).append(one)
    posterior: dict[str, dict[str, dict[str, float]]] = {}
    for facet, result in merged.items():
        for (segment, term), p in result.posterior.items():
            posterior.setdefault(segment, {}).setdefault(facet, {})[term] = round(p, 4)
    captions = {s: _build_caption(said, posterior.get(s, {}), vocabulary, threshold) for s, said in by_segment.items()}
    return {segment: caption for segment, caption in captions.items() if caption}


def _build_caption(
    said: list[Annotation], tags: dict[str, dict[str, float]], vocabulary: Vocabulary, threshold: float
) -> Caption | None:
    """The main caption is made of the merged terms if people chose terms, else of a person's own words."""
    kept = {f: [t for t, p in sorted(terms.items(), key=_certainty_order) if p >= threshold] for f, terms in tags.items()}
    merged = vocabulary.write_caption(kept)
    free = [" ".join(one.words.split()) for one in said if one.words.strip()]
    own = [vocabulary.write_caption(one.tags) for one in said if one.member not in NOT_PEOPLE]
    outvoted = vocabulary.write_caption({f: [t for t, p in terms.items() if p < threshold] for f, terms in tags.items()})
    people = tuple(sorted({one.member for one in said if one.member not in NOT_PEOPLE}))
    first = [merged] if any(own) else []
    texts = [text for text in dict.fromkeys([*first, *free, merged, *own, outvoted]) if text]
    if not texts:
        return None
    return Caption(text=texts[0], variants=tuple(texts[1:]), tags={f: t for f, t in tags.items() if t}, annotators=people)


def _certainty_order(term: tuple[str, float]) -> tuple[float, str]:
    return -term[1], term[0]


def _source_order(one: Annotation) -> tuple[bool, bool, int, str, str]:
    """People, then sidecars, then file names; the studio before imports; then by name, so that every machine has one order."""
    rank = _SOURCES_BY_RANK.index(one.source) if one.source in _SOURCES_BY_RANK else len(_SOURCES_BY_RANK)
    return one.member == FILE_NAME, one.member == SIDECAR, rank, one.member, one.segment
