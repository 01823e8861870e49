"""Agreement: Krippendorff's alpha for nominal data (a term applies or not), with a bootstrap interval.

Units are (segment, term) with at least two answers; missing answers do not count. 1 is full agreement, 0 is chance.
Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.annotate_merge.merge import Ballot, collect_votes

_FEWEST = 2  # segments that an interval needs


@dataclass(frozen=True)
class AnnotatorAgreement:
    """The agreement of people in a facet.

    Attributes:
        alpha: at most 1; None if no segment has answers of two people.
        interval: 95 % of the bootstrap; None with fewer than two such segments.
        segments: number of segments with answers of at least two people.
    """

    facet: str
    alpha: float | None
    interval: tuple[float, float] | None = None
    segments: int = 0


def measure_agreement(facet: str, ballots: Iterable[Ballot], rounds: int, seed: int = 0) -> AnnotatorAgreement:
    """Alpha of one facet over the ballots of people. Leaves out file names and sidecars, which name only terms that apply.

    Args:
        rounds: resamplings of segments for the interval; 0 gives none.
    """
    votes = collect_votes(ballot for ballot in ballots if not ballot.only_positive)
    width = len(votes.terms)
    answers = np.bincount(votes.cell, minlength=votes.cell_count).astype(float)
    yes = np.bincount(votes.cell, votes.said, votes.cell_count)
    paired = answers > 1
    counts = np.stack([answers - yes, yes], axis=1) * paired[:, None]
    by_segment = _sum_disagreement(counts.reshape(len(votes.segments), width, 2)) if width else np.zeros((0, 3))
    by_segment = by_segment[by_segment[:, 1:].sum(axis=1) > 0]
    interval = _bootstrap_interval(by_segment, rounds, seed) if len(by_segment) >= _FEWEST and rounds else None
    return AnnotatorAgreement(facet, _compute_alpha(by_segment.sum(axis=0)), interval, len(by_segment))


def _sum_disagreement(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """[segments, 3]: observed disagreement, answers no, answers yes. Alpha is a function of their sums over segments."""
    n = counts.sum(axis=2)
    observed = 2 * counts[..., 0] * counts[..., 1] / np.maximum(n - 1, 1)
    return np.stack([observed.sum(axis=1), counts[..., 0].sum(axis=1), counts[..., 1].sum(axis=1)], axis=1)


def _compute_alpha(sums: NDArray[np.float64]) -> float | None:
    observed, no, yes = (float(x) for x in sums)
    if no + yes < 2:
        return None
    expected = 2 * no * yes / (no + yes - 1)
    return 1.0 if expected == 0 else 1 - observed / expected


def _bootstrap_interval(by_segment: NDArray[np.float64], rounds: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    drawn = [by_segment[rng.integers(len(by_segment), size=len(by_segment))].sum(axis=0) for _ in range(rounds)]
    values = [value for value in map(_compute_alpha, drawn) if value is not None]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))
