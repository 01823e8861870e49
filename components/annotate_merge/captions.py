"""Builds captions from merged terms and free words. Every text that is not the main caption becomes a variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import Caption
from audiotune.domain.vocabulary import FACETS, Vocabulary
from components.annotate_merge.merge import Ballot, MergeResult
from components.annotate_merge.sources import FILE_NAME, NOT_PEOPLE, SIDECAR

_SOURCES_BY_RANK = (
    "studio",
    "label_studio",
    "csv",
    "audacity",
    "sidecar",
    "file_name",
)  # the first counts when a person answered twice
_PRIOR_ANSWERS = 8.0  # weight of the prior of a precision


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


def find_unopposed_terms(ballots: Iterable[Ballot], posterior: Mapping[tuple[str, str], float]) -> set[tuple[str, str]]:
    """(segment, term) for every term of one facet that everybody named who answered the facet for that segment.

    File names and sidecars neither oppose a member's term nor make one unopposed. A term that only members named who, where others
    heard the same segments, named it mostly wrongly is left to the vote.

    Args:
        posterior: of (segment, term), as merged; it says who was right in the segments that several members heard.
    """
    by_segment: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        if not ballot.only_positive:
            by_segment.setdefault(ballot.segment, []).append(ballot)
    precision = _PrecisionInCompany(by_segment.values(), posterior)
    return {
        (segment, term)
        for segment, answers in by_segment.items()
        for term in frozenset.intersection(*(ballot.terms for ballot in answers))
        if any(precision.estimate(ballot.annotator, term) >= 0.5 for ballot in answers)
    }


class _PrecisionInCompany:
    """How often a member's term holds where other members heard the same segment. Without such segments, nearly always."""

    def __init__(self, answers: Iterable[list[Ballot]], posterior: Mapping[tuple[str, str], float]) -> None:
        self._held: dict[tuple[str, ...], list[float]] = {}
        for ballot in (ballot for shared in answers if len(shared) > 1 for ballot in shared):
            for term in ballot.terms:
                for of in ((ballot.annotator,), (ballot.annotator, term)):
                    self._held.setdefault(of, []).append(posterior[ballot.segment, term])

    def estimate(self, annotator: str, term: str) -> float:
        """In [0, 1]; few answers on a term are drawn towards all answers of the member, and those towards 0.9."""
        return self._shrink((annotator, term), self._shrink((annotator,), 0.9))

    def _shrink(self, of: tuple[str, ...], prior: float) -> float:
        held = self._held.get(of, ())
        return (sum(held) + _PRIOR_ANSWERS * prior) / (len(held) + _PRIOR_ANSWERS)


def build_captions(
    annotations: Iterable[Annotation],
    ballots: Mapping[str, Iterable[Ballot]],
    merged: Mapping[str, MergeResult],
    vocabulary: Vocabulary,
    threshold: float,
) -> dict[str, Caption]:
    """Segment id -> caption, for every segment with an annotation.

    Votes decide only where members differ: a term that nobody opposed stands in the main caption whatever its posterior.

    Args:
        ballots: facet -> ballots of these annotations.
        threshold: posterior from which an opposed term is part of the main caption.
    """
    by_segment: dict[str, list[Annotation]] = {}
    for one in sorted(annotations, key=_source_order):
        by_segment.setdefault(one.segment, []).append(one)
    unopposed: dict[str, set[str]] = {}
    for facet, result in merged.items():
        for segment, term in find_unopposed_terms(ballots[facet], result.posterior):
            unopposed.setdefault(segment, set()).add(term)
    posterior: dict[str, dict[str, dict[str, float]]] = {}
    for facet, result in merged.items():
        for (segment, term), p in result.posterior.items():
            posterior.setdefault(segment, {}).setdefault(facet, {})[term] = round(p, 4)
    captions = {}
    for segment, said in by_segment.items():
        tags, sure = posterior.get(segment, {}), unopposed.get(segment, set())
        kept = {f: {t for t, p in terms.items() if t in sure or p >= threshold} for f, terms in tags.items()}
        captions[segment] = _build_caption(said, tags, kept, vocabulary)
    return {segment: caption for segment, caption in captions.items() if caption}


def _build_caption(
    said: list[Annotation], tags: dict[str, dict[str, float]], kept: Mapping[str, set[str]], vocabulary: Vocabulary
) -> Caption | None:
    """The main caption: the terms kept of those that members chose, else a member's words, else what a sidecar or a name says."""
    in_order = {facet: [term for term, _ in sorted(terms.items(), key=_certainty_order)] for facet, terms in tags.items()}
    merged = vocabulary.write_caption({f: [t for t in terms if t in kept[f]] for f, terms in in_order.items()})
    outvoted = vocabulary.write_caption({f: [t for t in terms if t not in kept[f]] for f, terms in in_order.items()})
    members = [one for one in said if one.member not in NOT_PEOPLE]
    own = [vocabulary.write_caption(one.tags) for one in members]
    first = [merged] if any(own) else []
    free = [" ".join(one.words.split()) for one in said if one.member in NOT_PEOPLE]
    texts = [*first, *(" ".join(one.words.split()) for one in members), *own, *free, merged, outvoted]
    texts = [text for text in dict.fromkeys(texts) if text]
    if not texts:
        return None
    people = tuple(sorted({one.member for one in members}))
    return Caption(text=texts[0], variants=tuple(texts[1:]), tags={f: t for f, t in tags.items() if t}, annotators=people)


def _certainty_order(term: tuple[str, float]) -> tuple[float, str]:
    return -term[1], term[0]


def _source_order(one: Annotation) -> tuple[bool, bool, int, str, str]:
    """People, then sidecars, then file names; the studio before imports; then by name, so that every machine has one order."""
    rank = _SOURCES_BY_RANK.index(one.source) if one.source in _SOURCES_BY_RANK else len(_SOURCES_BY_RANK)
    return one.member == FILE_NAME, one.member == SIDECAR, rank, one.member, one.segment
