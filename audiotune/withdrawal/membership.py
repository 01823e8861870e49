"""Does a model remember sounds? A membership test by loss, and the nearest copies among the sounds that it made.

The test (after Yeom et al. 2018, with the base model as reference, Sablayrolles et al. 2019): how much lower a model's loss on a
segment is than its base's, for withdrawn segments against segments that no training has seen. The AUC is the chance that a withdrawn
segment's loss fell more than an unseen one's: 0.5 says that the model treats them alike. Intervals: bootstrap over the recordings, because
segments of one recording are alike (Cameron, Gelbach and Miller 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotune.audio import distance
from audiotune.audio.fingerprint import FingerprintIndex, fingerprint_sound
from audiotune.audio.sound import Sound

_DRAWS = 2000
_LIKE = 0.98  # likeness from which a sound is a copy; as evaluate's gate_like
Values = NDArray[np.float64]


@dataclass(frozen=True)
class MembershipResult:
    """An AUC and the interval in which it lies at 95 %."""

    auc: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def allows_chance(self, tolerance: float) -> bool:
        """Whether 0.5, with a tolerance, is in the interval."""
        return self.low <= 0.5 + tolerance and self.high >= 0.5 - tolerance


def compute_auc(members: Values, strangers: Values) -> float:
    """The chance that a member's score is above a stranger's; ties count half."""
    above = (members[:, None] > strangers[None]).mean() + 0.5 * (members[:, None] == strangers[None]).mean()
    return float(above)


def judge_membership(members: Sequence[Values], strangers: Sequence[Values]) -> MembershipResult:
    """The AUC of two sets of scores, with its interval.

    Args:
        members, strangers: the scores of each recording's segments, one array a recording; none is empty.
    """
    rng = np.random.default_rng(0)
    drawn = [compute_auc(_resample(members, rng), _resample(strangers, rng)) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return MembershipResult(compute_auc(np.concatenate(members), np.concatenate(strangers)), float(low), float(high))


def group_scores(scores: Values, recordings: Sequence[str]) -> list[Values]:
    """The scores that are numbers, one array a recording. `recordings`: of each score."""
    found: dict[str, list[float]] = {}
    for score, recording in zip(scores, recordings, strict=True):
        if not np.isnan(score):
            found.setdefault(recording, []).append(float(score))
    return [np.array(one) for one in found.values()]


def _resample(recordings: Sequence[Values], rng: np.random.Generator) -> Values:
    """As many recordings, drawn with replacement, each with all its scores."""
    return np.concatenate([recordings[index] for index in rng.integers(len(recordings), size=len(recordings))])


def find_nearest(made: Sequence[Sound], others: Sequence[Sound]) -> tuple[float, int]:
    """(median likeness of each made sound to its nearest other; how many of the made sounds are copies)."""
    mels = [distance.compute_log_mel(sound) for sound in others]
    best = distance.compute_likeness([distance.compute_log_mel(sound) for sound in made], mels).max(axis=1)
    index: FingerprintIndex[int] = FingerprintIndex()
    for number, sound in enumerate(others):
        index.add(number, fingerprint_sound(sound))
    copies = sum(like >= _LIKE or bool(index.find(fingerprint_sound(sound))) for sound, like in zip(made, best))
    return float(np.median(best)), copies
