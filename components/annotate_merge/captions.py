"""From merged terms and free words to captions. Nothing anybody said is dropped: what is not the main caption is a variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audiotune.annotation import Annotation
from audiotune.dataset import Caption
from audiotune.vocabulary import FACETS, Vocabulary
from components.annotate_merge.merge import Ballot, Merged
from components.annotate_merge.sources import NOT_PEOPLE


def ballots(annotations: Iterable[Annotation]) -> dict[str, list[Ballot]]:
    """Facet -> everybody's answers. A person who answered at all was asked about every facet."""
    found: dict[str, list[Ballot]] = {facet: [] for facet in FACETS}
    for one in annotations:
        if not one.tags:
            continue  # words alone say nothing about what does not hold
        listed = one.member in NOT_PEOPLE
        for facet in FACETS:
            terms = frozenset(one.tags.get(facet, ()))
            if terms or not listed:
                found[facet].append(Ballot(one.segment, one.member, terms, only_positive=listed))
    return found


def captions(
    annotations: Iterable[Annotation], merged: Mapping[str, Merged], vocabulary: Vocabulary, threshold: float
) -> dict[str, Caption]:
    """Segment id -> caption, for every segment anybody described."""
    by_segment: dict[str, list[Annotation]] = {}
    for one in annotations:
        by_segment.setdefault(one.segment, []).append(one)
    posterior: dict[str, dict[str, dict[str, float]]] = {}
    for facet, result in merged.items():
        for (segment, term), p in result.posterior.items():
            posterior.setdefault(segment, {}).setdefault(facet, {})[term] = round(p, 4)
    found = {s: _caption(said, posterior.get(s, {}), vocabulary, threshold) for s, said in by_segment.items()}
    return {segment: caption for segment, caption in found.items() if caption}


def _caption(
    said: list[Annotation], tags: dict[str, dict[str, float]], vocabulary: Vocabulary, threshold: float
) -> Caption | None:
    kept = {f: [t for t, p in sorted(terms.items(), key=lambda x: -x[1]) if p >= threshold] for f, terms in tags.items()}
    main = vocabulary.caption_for(kept)
    free = [
        " ".join(one.words.split()) for one in sorted(said, key=lambda one: (one.member in NOT_PEOPLE, one.member)) if one.words
    ]
    own = [vocabulary.caption_for(one.tags) for one in said]
    texts = [text for text in dict.fromkeys([main, *free, *own]) if text]
    if not texts:
        return None
    people = tuple(sorted({one.member for one in said if one.member not in NOT_PEOPLE}))
    return Caption(
        text=texts[0], variants=tuple(texts[1:]), tags={f: terms for f, terms in tags.items() if terms}, annotators=people
    )
