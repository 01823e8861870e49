"""How sure a comparison is: bootstrap over the sounds, so that a lucky draw of a few sounds does not pass the gate.

Bootstrap: Efron and Tibshirani 1993. Sounds are drawn with replacement; of a pair of sets that were made of the same captions with the
same seeds, both keep the same sounds. Repeated sounds are left out of the averages within a set, which keeps the distance unbiased.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiotune.audio import distance
from audiotune.audio.distance import Kernel, Matrix
from components.evaluate.measured_sounds import MeasuredSound

_DRAWS = 1000
_SURE = 0.99  # one-sided
_SAME_LENGTH = 1.25  # longer or shorter by up to this factor counts as the same length
FEWEST_SOUNDS = 8  # to judge words by
_FEWEST_OTHERS = 3  # recordings of one length with other captions, from which a sound can be compared


def bound_kad_gain(reference: Matrix, before: Matrix, after: Matrix, kernel: Kernel) -> float:
    """How much the KAD fell, at its lower bound: 99 % of the draws are above. The reference is the same in each draw.

    Args:
        reference, before, after: embeddings [sounds, values]; `before` and `after` in the same order.
    """
    width = distance.compute_median_distance(reference)
    x = reference / width
    counts = _draw_counts(np.random.default_rng(0), len(before))
    draws = len(before)
    kad_before, kad_after = (
        _average_within(distance.compute_kernel(kernel, y, y), counts)
        - 2 * (counts @ distance.compute_kernel(kernel, y, x).mean(axis=1)) / draws
        for y in (before / width, after / width)
    )
    return float(distance.KAD_SCALE * np.quantile(kad_before - kad_after, 1 - _SURE))


def measure_similarity_share(reference: Matrix, train: Matrix, after: Matrix) -> float:
    """How similar the sounds are to the reference, against how similar the training recordings are to it; 1 is just as similar.

    The similarity of two sounds is the Gaussian kernel of KAD. It falls to about half where sounds are 1.5 times as far from the
    recordings as recordings are from each other, and to 0 for noise.
    """
    width = distance.compute_median_distance(reference)
    x = reference / width
    made, recorded = (float(distance.compute_kernel("rbf", x, y / width).mean()) for y in (after, train))
    return made / max(recorded, 1e-9)


def compare_words(
    before: Sequence[MeasuredSound], after: Sequence[MeasuredSound], targets: Sequence[MeasuredSound]
) -> dict[str, float]:
    """How much nearer sounds are to the recording with their caption than to those with others, in dB of log-mel distance.

    Only recordings of about the same length are compared, since the length is no word. `word_gain_db_lowest`: 99 % of the draws
    are above. Empty where fewer than 8 sounds have recordings to compare with: the captions are too much alike to tell.
    """
    pairs = [
        pair
        for base, tuned, target in zip(before, after, targets)
        if None not in (pair := [_measure_word_gain(one, target, targets) for one in (base, tuned)])
    ]
    if len(pairs) < FEWEST_SOUNDS:
        return {}
    old, new = np.array(pairs, np.float64).T
    drawn = _draw_counts(np.random.default_rng(0), len(new)) @ new / len(new)
    return {
        "word_gain_db_before": float(old.mean()),
        "word_gain_db_after": float(new.mean()),
        "word_gain_db_lowest": float(np.quantile(drawn, 1 - _SURE)),
    }


def _measure_word_gain(one: MeasuredSound, target: MeasuredSound, targets: Sequence[MeasuredSound]) -> float | None:
    length = target.mel.shape[1]
    others = [
        distance.measure_mel_distance(one.mel, other.mel)
        for other in targets
        if other.text != target.text and length / _SAME_LENGTH <= other.mel.shape[1] <= length * _SAME_LENGTH
    ]
    return float(np.mean(others)) - distance.measure_mel_distance(one.mel, target.mel) if len(others) >= _FEWEST_OTHERS else None


def _draw_counts(rng: np.random.Generator, sounds: int) -> Matrix:
    """How often each sound is drawn: [draws, sounds]."""
    return rng.multinomial(sounds, np.full(sounds, 1 / sounds), size=_DRAWS).astype(np.float64)


def _average_within(kernel: Matrix, counts: Matrix) -> NDArray[np.float64]:
    """Average over pairs of different sounds, for each draw."""
    apart = kernel - np.diag(np.diag(kernel))
    weights = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
    return np.einsum("di,di->d", counts @ apart, counts) / np.maximum(weights, 1.0)
