"""Caption merging against a known truth: five simulated annotators, two of them bad in different ways.

    python -m benchmarks.captions [--segments 400] [--seeds 5]

Prints micro F1 over (segment, term) of the captions as annotate_merge makes them (Dawid-Skene, and every term that nobody opposed),
of Dawid-Skene alone, of the majority vote and of every annotator alone, side by side. Then, for segments that only one careful
member described, the share of the terms said that stand in the main caption.
The five: three careful ones who miss some and now and then name a neighbour; a careless one who names terms at random as often
as true ones; a creature of habit who calls nearly everything by their favourite words. Coverage is sparse: each segment is heard
by each of them with a chance of 0.7, and terms follow a power law, so that most are rare.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from audiotune.domain.vocabulary import Vocabulary
from components.annotate_merge.captions import find_unopposed_terms
from components.annotate_merge.merge import Ballot, MergeResult, collect_votes, merge_dawid_skene

Truth = dict[tuple[str, str], bool]
TERMS_HELD = {"mood": (1, 2), "type": (1, 1), "texture": (1, 3), "synthesis": (1, 2), "motion": (1, 2)}
COVERAGE = 0.7


@dataclass(frozen=True)
class Annotator:
    """How one simulated annotator answers. Shares in [0, 1].

    Attributes:
        says: chance that a term that holds is said.
        mistakes: mean number of wrong terms named in a facet of a segment.
        favourites: how many terms are said by habit, each with a chance of 0.6.
    """

    name: str
    says: float
    mistakes: float
    favourites: int = 0


FIVE = (
    Annotator("careful-1", 0.9, 0.1),
    Annotator("careful-2", 0.85, 0.15),
    Annotator("careful-3", 0.8, 0.1),
    Annotator("careless", 0.35, 1.2),
    Annotator("habit", 0.4, 0.3, favourites=2),
)


def merge_by_majority(ballots: Iterable[Ballot]) -> MergeResult:
    """The share of annotators who said a term: what Dawid-Skene is measured against."""
    votes = collect_votes(ballots)
    share = np.bincount(votes.cell, votes.said, votes.cell_count) / np.maximum(
        np.bincount(votes.cell, minlength=votes.cell_count), 1
    )
    return MergeResult(votes.by_segment_and_term(share))


def simulate(segments: int, seed: int) -> dict[str, tuple[set[tuple[str, str]], list[Ballot]]]:
    """Facet -> (what holds, the ballots)."""
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary.load()
    heard = rng.random((segments, len(FIVE))) < COVERAGE
    heard[~heard.any(axis=1), 0] = True
    return {f: _facet([t.id for t in vocabulary.list_terms(f)], *TERMS_HELD[f], heard, rng) for f in vocabulary.facets}


def _facet(
    terms: list[str], fewest: int, most: int, heard: np.ndarray, rng: np.random.Generator
) -> tuple[set[tuple[str, str]], list[Ballot]]:
    weights = rng.permutation(1 / np.arange(1, len(terms) + 1))
    weights /= weights.sum()
    habits = {who.name: rng.choice(len(terms), who.favourites, replace=False) for who in FIVE}
    truth, ballots = set[tuple[str, str]](), list[Ballot]()
    for i in range(len(heard)):
        held = rng.choice(len(terms), int(rng.integers(fewest, most + 1)), replace=False, p=weights)
        truth |= {(str(i), terms[t]) for t in held}
        for who in (who for j, who in enumerate(FIVE) if heard[i, j]):
            said = {int(t) for t in held if rng.random() < who.says}
            said |= {int(t) for t in rng.integers(len(terms), size=rng.poisson(who.mistakes))}
            said |= {int(t) for t in habits[who.name] if rng.random() < 0.6}
            if said:  # a facet left empty is no answer
                ballots.append(Ballot(str(i), who.name, frozenset(terms[t] for t in said)))
    return truth, ballots


def f1(said: set[tuple[str, str]], truth: set[tuple[str, str]]) -> float:
    """Harmonic mean of precision and recall; 0 when nothing was said."""
    return 2 * len(said & truth) / max(1, len(said) + len(truth))


def scores(segments: int, seed: int) -> dict[str, float]:
    """Method -> F1 over all facets."""
    said: dict[str, set[tuple[str, str]]] = {}
    truths: dict[str, set[tuple[str, str]]] = {}
    for truth, ballots in simulate(segments, seed).values():
        posterior = merge_dawid_skene(ballots).posterior
        believed = {cell for cell, p in posterior.items() if p >= 0.5}
        # An even split counts as yes: the kinder rule for the majority.
        majority = {cell for cell, p in merge_by_majority(ballots).posterior.items() if p >= 0.5 - 1e-9}
        answers = {"captions": believed | find_unopposed_terms(ballots, posterior), "Dawid-Skene": believed, "majority": majority}
        for name, cells in answers.items():
            said.setdefault(name, set()).update(cells)
            truths.setdefault(name, set()).update(truth)
        for who in FIVE:
            heard = {ballot.segment for ballot in ballots if ballot.annotator == who.name}
            own = {(b.segment, t) for b in ballots if b.annotator == who.name for t in b.terms}
            said.setdefault(who.name, set()).update(own)
            truths.setdefault(who.name, set()).update(cell for cell in truth if cell[0] in heard)
    return {name: f1(said[name], truths[name]) for name in said}


def measure_divided_work(segments: int, seed: int) -> dict[str, float]:
    """Share of the terms said that stand in the main caption, when each segment is described by one of three careful members."""
    stands, believed, total = 0, 0, 0
    for _, ballots in simulate(segments, seed).values():
        one = {b.segment: b for b in ballots if b.annotator == f"careful-{int(b.segment) % 3 + 1}"}
        said = {(b.segment, term) for b in one.values() for term in b.terms}
        posterior = merge_dawid_skene(one.values()).posterior
        by_vote = {cell for cell in said if posterior[cell] >= 0.5}
        stands += len(said & (by_vote | find_unopposed_terms(one.values(), posterior)))
        believed += len(by_vote)
        total += len(said)
    return {"captions": stands / total, "Dawid-Skene": believed / total}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--segments", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    before = time.perf_counter()
    runs = [scores(args.segments, seed) for seed in range(args.seeds)]
    print(f"{args.segments} segments, five facets, {args.seeds} seeds, {time.perf_counter() - before:.1f} s")
    print("| merged by | F1 | lowest seed |\n|---|---|---|")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"| {name} | {np.mean(values):.3f} | {min(values):.3f} |")
    divided = [measure_divided_work(args.segments, seed) for seed in range(args.seeds)]
    for name in divided[0]:
        print(f"one member a segment, terms said that stand, {name}: {np.mean([run[name] for run in divided]):.3f}")


if __name__ == "__main__":
    main()
