"""Who is to be believed: Dawid-Skene over binary votes, pooled per facet, and Krippendorff's alpha.

A vote says whether a term holds for a segment. Every annotator has one sensitivity and one specificity per facet, so that sparse
terms borrow strength from frequent ones (Dawid and Skene 1979; pooling as in Raykar et al. 2010).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Beta priors (successes, failures): people are mostly right, and say a wrong word less often than they miss a right one.
_SENSITIVITY = (4.0, 1.5)
_SPECIFICITY = (19.0, 1.0)
_PREVALENCE = (1.0, 3.0)


@dataclass(frozen=True)
class Ballot:
    """One annotator's answer for one segment in one facet.

    Attributes:
        only_positive: silence says nothing (file names and sidecars do not list what a sound is not).
    """

    segment: str
    annotator: str
    terms: frozenset[str]
    only_positive: bool = False


@dataclass(frozen=True)
class Merged:
    """Posterior of each (segment, term), and what was learned about the annotators: name -> (sensitivity, specificity)."""

    posterior: dict[tuple[str, str], float] = field(default_factory=dict)
    competence: dict[str, tuple[float, float]] = field(default_factory=dict)


def dawid_skene(ballots: Iterable[Ballot], iterations: int = 30) -> Merged:
    """Merges the ballots of one facet. Empty in, empty out."""
    every = list(ballots)
    votes = _votes(every)
    if not votes:
        return Merged()
    cells = sorted({(segment, term) for segment, term, _, _ in votes})
    names = sorted({annotator for _, _, annotator, _ in votes})
    cell_at, name_at = {cell: i for i, cell in enumerate(cells)}, {name: i for i, name in enumerate(names)}
    cell = np.array([cell_at[segment, term] for segment, term, _, _ in votes])
    who = np.array([name_at[annotator] for _, _, annotator, _ in votes])
    said = np.array([value for *_, value in votes], dtype=float)
    terms = sorted({term for _, term in cells})
    term = np.array([terms.index(t) for _, t in cells])
    p, sensitivity, specificity = _fit(cell, who, said, term, len(names), iterations)
    return Merged(
        {key: float(p[i]) for key, i in cell_at.items()},
        {name: (float(sensitivity[i]), float(specificity[i])) for name, i in name_at.items()},
    )


def majority(ballots: Iterable[Ballot]) -> Merged:
    """The share of annotators who said a term: what Dawid-Skene is measured against."""
    cells: dict[tuple[str, str], list[float]] = {}
    for segment, term, _, value in _votes(list(ballots)):
        cells.setdefault((segment, term), []).append(float(value))
    return Merged({cell: float(np.mean(values)) for cell, values in cells.items()})


def alpha(ballots: Iterable[Ballot]) -> float | None:
    """Krippendorff's alpha for nominal data over (segment, term) units; 1 is full agreement, 0 is chance, None has no pairs."""
    units: dict[tuple[str, str], list[bool]] = {}
    for segment, term, _, value in _votes([ballot for ballot in ballots if not ballot.only_positive]):
        units.setdefault((segment, term), []).append(value)
    counts = np.array([(len(v) - sum(v), sum(v)) for v in units.values() if len(v) > 1], dtype=float).reshape(-1, 2)
    return _alpha(counts)


def alpha_interval(ballots: Iterable[Ballot], rounds: int, seed: int = 0) -> tuple[float, float] | None:
    """A 95 % interval of alpha: segments drawn with replacement."""
    by_segment: dict[str, list[tuple[float, float]]] = {}
    units: dict[tuple[str, str], list[bool]] = {}
    for segment, term, _, value in _votes([ballot for ballot in ballots if not ballot.only_positive]):
        units.setdefault((segment, term), []).append(value)
    for (segment, _), v in units.items():
        if len(v) > 1:
            by_segment.setdefault(segment, []).append((len(v) - sum(v), sum(v)))
    if len(by_segment) < 2 or not rounds:
        return None
    tables = [np.array(rows, dtype=float) for rows in by_segment.values()]
    rng = np.random.default_rng(seed)
    drawn = (_alpha(np.concatenate([tables[i] for i in rng.integers(len(tables), size=len(tables))])) for _ in range(rounds))
    values = [value for value in drawn if value is not None]
    return (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))) if values else None


def _votes(ballots: list[Ballot]) -> list[tuple[str, str, str, bool]]:
    """(segment, term, annotator, said so) for every term that anybody used for anything, where the annotator had a say."""
    terms = sorted({term for ballot in ballots for term in ballot.terms})
    votes = []
    for ballot in ballots:
        for term in terms:
            if term in ballot.terms or not ballot.only_positive:
                votes.append((ballot.segment, term, ballot.annotator, term in ballot.terms))
    return votes


_Line = NDArray[np.float64]
_Index = NDArray[np.int64]


def _fit(cell: _Index, who: _Index, said: _Line, term: _Index, annotators: int, iterations: int) -> tuple[_Line, _Line, _Line]:
    """Posterior of each cell, sensitivity and specificity of each annotator."""
    cells = len(term)
    p = np.bincount(cell, said, cells) / np.maximum(np.bincount(cell, minlength=cells), 1)
    sensitivity = specificity = np.zeros(annotators)
    for _ in range(iterations):
        yes, no = p[cell], 1 - p[cell]
        sensitivity = (np.bincount(who, yes * said, annotators) + _SENSITIVITY[0]) / (
            np.bincount(who, yes, annotators) + sum(_SENSITIVITY)
        )
        specificity = (np.bincount(who, no * (1 - said), annotators) + _SPECIFICITY[0]) / (
            np.bincount(who, no, annotators) + sum(_SPECIFICITY)
        )
        prevalence = (np.bincount(term, p) + _PREVALENCE[0]) / (np.bincount(term) + sum(_PREVALENCE))
        odds = np.log(prevalence / (1 - prevalence))[term]
        evidence = np.where(
            said > 0, np.log(sensitivity[who] / (1 - specificity[who])), np.log((1 - sensitivity[who]) / specificity[who])
        )
        p = 1 / (1 + np.exp(-np.clip(odds + np.bincount(cell, evidence, cells), -40, 40)))
    return p, sensitivity, specificity


def _alpha(counts: _Line) -> float | None:
    """From the number of no and yes of each unit with two answers or more: float [units, 2]."""
    if not len(counts):
        return None
    n = counts.sum(axis=1)
    observed = float((2 * counts[:, 0] * counts[:, 1] / (n - 1)).sum())
    totals = counts.sum(axis=0)
    expected = float(2 * totals[0] * totals[1] / (totals.sum() - 1))
    return 1.0 if expected == 0 else 1 - observed / expected


def by_facet(ballots: Mapping[str, list[Ballot]], iterations: int) -> dict[str, Merged]:
    """Dawid-Skene for each facet."""
    return {facet: dawid_skene(every, iterations) for facet, every in ballots.items()}
