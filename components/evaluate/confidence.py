"""How sure a comparison is, so that a lucky draw of a few sounds does not pass the gate.

Whether the training changed something, and to the better: a permutation test (Fisher 1935) by pairs of sounds that were made of the same
captions with the same seeds. How well words are followed: a bootstrap (Efron and Tibshirani 1993), sounds drawn with replacement.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiotune.audio import distance
from audiotune.audio.distance import Kernel, Matrix
from components.evaluate.measured_sounds import MeasuredSound

_DRAWS = 1000
_PARTS = 300
_LARGEST_PART = 8  # recordings
_SURE = 0.99  # one-sided
_SAME_LENGTH = 1.25  # longer or shorter by up to this factor counts as the same length
FEWEST_SOUNDS = 8  # to judge words by
_FEWEST_OTHERS = 3  # recordings of one length with other captions, from which a sound can be compared


def measure_kad_gain(reference: Matrix, before: Matrix, after: Matrix, kernel: Kernel) -> dict[str, float]:
    """How much the KAD fell, and what luck gives.

    `kad_gain_of_luck`: 99 % of the gains are below when of each pair of sounds it is drawn by lot which one was made with the training.
    That is exact for a training that did no more than another seed does, for any number of sounds; a bootstrap's error bar is that of
    the gain itself, and hides large gains at 16 sounds.

    Args:
        reference, before, after: embeddings [sounds, values]; `before` and `after` in the same order.
    """
    width, count = distance.compute_median_distance(reference), len(before)
    both = np.concatenate([before, after]) / width
    near = distance.compute_kernel(kernel, both, reference / width).mean(axis=1)
    within = distance.compute_kernel(kernel, both, both)
    np.fill_diagonal(within, 0.0)
    swapped = np.random.default_rng(0).integers(2, size=(_DRAWS, count)).astype(np.float64)
    swapped[0] = 0.0  # as it was

    def measure(taken: Matrix) -> NDArray[np.float64]:
        """KAD [draws] of the sounds taken [draws, sounds of both], but for what all draws have in common."""
        return np.einsum("di,di->d", taken @ within, taken) / (count * (count - 1)) - 2 * taken @ near / count

    first, second = np.hstack([1 - swapped, swapped]), np.hstack([swapped, 1 - swapped])
    gains = distance.KAD_SCALE * (measure(first) - measure(second))
    return {"kad_gain": float(gains[0]), "kad_gain_of_luck": float(np.quantile(gains, _SURE))}


def measure_effect(before: Matrix, after: Matrix, width: float, kernel: Kernel) -> dict[str, float]:
    """How far apart sounds of the same words and seeds are with and without the training, and what re-seeding alone gives.

    `effect_kad`: the KAD of both sets. `effect_kad_of_reseeding`: 99 % of the KADs are below when of each pair of sounds it is drawn by lot
    which one was made with the training (Gretton et al. 2012, section 5, by pairs). Were the training without effect, the two would be
    as two seeds of one model, and the lot would change nothing.

    Args:
        before, after: embeddings [sounds, values] in the same order.
        width: of the kernel.
    """
    x, y = before / width, after / width
    across = distance.compute_kernel(kernel, x, y)
    paired = distance.compute_kernel(kernel, x, x) + distance.compute_kernel(kernel, y, y) - across - across.T
    apart = paired - np.diag(np.diag(paired))
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWS, len(x)))
    scale = distance.KAD_SCALE / max(len(x) * (len(x) - 1), 1)
    swapped = np.einsum("di,di->d", drawn @ apart, drawn)
    return {
        "effect_kad": float(apart.sum() * scale),
        "effect_kad_of_reseeding": float(np.quantile(swapped, _SURE) * scale),
    }


def bound_recorded_kad(train: Matrix, recordings: Sequence[str], width: float, held_out: int, kernel: Kernel) -> float | None:
    """How far apart parts of the training recordings are themselves: 99 % of the KADs between two parts are below.

    A part has as many whole recordings as are held out, at most eight and at most half of them: larger ones are nearer to each other,
    and would ask more of a group that has more. None where no part can be drawn.

    Args:
        train: embeddings [sounds, values]; `recordings` names the recording of each.
        width: of the kernel, as in the KAD that is compared with it.
    """
    names, of = np.unique(recordings, return_inverse=True)
    count = max(1, min(held_out, len(names) // 2, _LARGEST_PART))
    rng, similar = np.random.default_rng(0), distance.compute_kernel(kernel, train / width, train / width)
    drawn = (np.isin(of, rng.permutation(len(names))[:count]) for _ in range(_PARTS))
    apart = [_compute_kad_of_parts(similar, part) for part in drawn if min(part.sum(), (~part).sum()) > 1]
    return float(np.quantile(apart, _SURE)) if apart else None


def _compute_kad_of_parts(kernel: Matrix, part: NDArray[np.bool_]) -> float:
    within = (kernel[np.ix_(side, side)] for side in (part, ~part))
    nearness = sum((float(one.sum()) - np.trace(one)) / (len(one) * (len(one) - 1)) for one in within)
    return distance.KAD_SCALE * (nearness - 2 * float(kernel[np.ix_(part, ~part)].mean()))


def measure_variety_share(made: Matrix, targets: Matrix) -> float:
    """How different the sounds are from each other, against the recordings with their captions; 0 where all sound the same.

    Mean distance between two different embeddings [sounds, values] of each set.
    """
    return distance.measure_mean_distance(made) / max(distance.measure_mean_distance(targets), 1e-9)


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
