"""Merges annotators' votes by Dawid-Skene over binary votes, pooled per facet.

A vote says whether a term applies to a segment. Every annotator has one sensitivity and one specificity per facet, so that rare
terms share the statistics of frequent ones (Dawid and Skene 1979, binary as in Raykar et al. 2010). A habit of one annotator, such
as calling everything dark, becomes a false-alarm rate of that term, which is shrunk towards the pooled one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Beta priors (successes, failures): people mostly name terms that apply, and rarely others.
_SENSITIVITY = (4.0, 1.5)
_SPECIFICITY = (19.0, 1.0)
_PREVALENCE = (1.0, 9.0)
_HABIT = 12.0  # weight of an annotator's pooled false-alarm rate, in answers
_CONVERGED = 1e-5  # change of a posterior at which the iterations end

_Line = NDArray[np.float64]
_Index = NDArray[np.int64]


@dataclass(frozen=True)
class Ballot:
    """One annotator's answer for one segment in one facet.

    Attributes:
        only_positive: an omitted term is no vote against it (file names and sidecars).
    """

    segment: str
    annotator: str
    terms: frozenset[str]
    only_positive: bool = False


@dataclass(frozen=True)
class AnnotatorCompetence:
    """The estimated reliability of one annotator in one facet. Counts are expected values, so they have fractions.

    Attributes:
        sensitivity, specificity: share of the terms that apply which are named; of the others which are not. In [0, 1].
        hits, misses, false_alarms: terms named correctly, omitted, named wrongly.
    """

    sensitivity: float
    specificity: float
    answers: int
    hits: float
    misses: float
    false_alarms: float


@dataclass(frozen=True)
class MergeResult:
    """Posterior that a term applies, for each (segment, term) that somebody named; annotator -> competence."""

    posterior: dict[tuple[str, str], float] = field(default_factory=dict)
    competence: dict[str, AnnotatorCompetence] = field(default_factory=dict)


@dataclass(frozen=True)
class VoteArrays:
    """All votes on whether a term applies, as parallel arrays [votes], and the names of their indices.

    A ballot votes on all terms used in the facet; an `only_positive` one votes only on the terms that it names.
    """

    segments: list[str]
    annotators: list[str]
    terms: list[str]
    cell: _Index  # segment * len(terms) + term
    who: _Index
    said: _Line  # 0 or 1
    listed: NDArray[np.bool_]  # [annotators]: names only terms that apply, so its reliability cannot be estimated

    @property
    def cell_count(self) -> int:
        return len(self.segments) * len(self.terms)

    def by_segment_and_term(self, values: _Line) -> dict[tuple[str, str], float]:
        """(segment, term) -> value, for the cells with a vote for the term."""
        yes = np.unique(self.cell[self.said > 0])
        width = max(1, len(self.terms))
        return {(self.segments[i // width], self.terms[i % width]): float(values[i]) for i in yes}


def collect_votes(ballots: Iterable[Ballot]) -> VoteArrays:
    """The ballots of one facet as arrays."""
    every = list(ballots)
    segments, segment_at = _number_names(ballot.segment for ballot in every)
    annotators, who_at = _number_names(ballot.annotator for ballot in every)
    terms, term_at = _number_names(term for ballot in every for term in ballot.terms)
    said = np.zeros((len(every), len(terms)))
    for i, ballot in enumerate(every):
        said[i, [term_at[term] for term in ballot.terms]] = 1
    counts = said.astype(bool) | ~np.array([ballot.only_positive for ballot in every], dtype=bool)[:, None]
    row = np.array([segment_at[ballot.segment] for ballot in every], dtype=np.int64)
    cell = row[:, None] * len(terms) + np.arange(len(terms), dtype=np.int64)
    who = np.broadcast_to(np.array([who_at[ballot.annotator] for ballot in every], dtype=np.int64)[:, None], said.shape)
    speaks = {ballot.annotator for ballot in every if not ballot.only_positive}
    listed = np.array([name not in speaks for name in annotators], dtype=bool)
    return VoteArrays(segments, annotators, terms, cell[counts], who[counts], said[counts], listed)


def merge_dawid_skene(ballots: Iterable[Ballot], iterations: int = 30) -> MergeResult:
    """Merges the ballots of one facet by expectation and maximisation. No ballots give an empty result."""
    every = list(ballots)
    votes = collect_votes(every)
    if not len(votes.said):
        return MergeResult()
    count = np.bincount(votes.cell, minlength=votes.cell_count)
    p = np.bincount(votes.cell, votes.said, votes.cell_count) / np.maximum(count, 1)
    for _ in range(iterations):
        before, p = p, _update_posterior(votes, p, count > 0)
        if np.abs(p - before).max() < _CONVERGED:
            break
    answers = {name: sum(ballot.annotator == name for ballot in every) for name in votes.annotators}
    return MergeResult(votes.by_segment_and_term(p), _estimate_competence(votes, p, answers))


def _update_posterior(votes: VoteArrays, p: _Line, has_votes: NDArray[np.bool_]) -> _Line:
    """The next posterior of every cell, float64 [cells]."""
    sensitivity, false_alarm = _estimate_rates(votes, p)
    evidence = np.where(votes.said > 0, np.log(sensitivity / false_alarm), np.log((1 - sensitivity) / (1 - false_alarm)))
    of_term = np.arange(votes.cell_count) % len(votes.terms)
    applies = np.bincount(of_term, p * has_votes, len(votes.terms)) + _PREVALENCE[0]
    prevalence = applies / (np.bincount(of_term, has_votes, len(votes.terms)) + sum(_PREVALENCE))
    odds = np.log(prevalence / (1 - prevalence))[of_term] + np.bincount(votes.cell, evidence, votes.cell_count)
    next_p: _Line = np.where(has_votes, 1 / (1 + np.exp(-np.clip(odds, -40, 40))), 0.0)
    return next_p


def _estimate_rates(votes: VoteArrays, p: _Line) -> tuple[_Line, _Line]:
    """Sensitivity of the annotator and false-alarm rate of the annotator for the term, of each vote."""
    hits, held, alarms, free = _count_outcomes(votes, p)
    sensitivity = (hits + _SENSITIVITY[0]) / (held + sum(_SENSITIVITY))
    pooled = (alarms + _SPECIFICITY[1]) / (free + sum(_SPECIFICITY))
    width, no = len(votes.terms), 1 - p[votes.cell]
    habit = votes.who * width + votes.cell % width  # annotator and term
    of_habit, chances = (np.bincount(habit, weight, len(hits) * width) for weight in (no * votes.said, no))
    own = (of_habit[habit] + _HABIT * pooled[votes.who]) / (chances[habit] + _HABIT)
    listed = votes.listed[votes.who]
    return (
        np.where(listed, _SENSITIVITY[0] / sum(_SENSITIVITY), sensitivity[votes.who]),
        np.where(listed, _SPECIFICITY[1] / sum(_SPECIFICITY), own),
    )


def _count_outcomes(votes: VoteArrays, p: _Line) -> tuple[NDArray[Any], ...]:
    """Expected terms of each annotator [annotators]: named rightly, that apply, named wrongly, that do not apply."""
    people = len(votes.annotators)
    yes, no = p[votes.cell], 1 - p[votes.cell]
    hits, held = np.bincount(votes.who, yes * votes.said, people), np.bincount(votes.who, yes, people)
    alarms, free = np.bincount(votes.who, no * votes.said, people), np.bincount(votes.who, no, people)
    return hits, held, alarms, free


def _estimate_competence(votes: VoteArrays, p: _Line, answers: Mapping[str, int]) -> dict[str, AnnotatorCompetence]:
    hits, held, alarms, free = _count_outcomes(votes, p)
    sensitivity = (hits + _SENSITIVITY[0]) / (held + sum(_SENSITIVITY))
    specificity = 1 - (alarms + _SPECIFICITY[1]) / (free + sum(_SPECIFICITY))
    table = np.stack([sensitivity, specificity, hits, held - hits, alarms], axis=1).tolist()
    return {
        name: AnnotatorCompetence(sense, special, answers[name], hit, miss, alarm)
        for name, (sense, special, hit, miss, alarm) in zip(votes.annotators, table)
    }


def _number_names(names: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """The sorted distinct names, and the index of each."""
    order = sorted(set(names))
    return order, {name: i for i, name in enumerate(order)}
