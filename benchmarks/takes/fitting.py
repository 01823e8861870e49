"""Fits the weights by which segment tells a new sound from the next note of the same one, to simulated takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.takes.listening import find_spans, hear_take
from benchmarks.takes.scoring import match_onsets
from benchmarks.takes.simulated_take import SimulatedTake, TrueSound
from components.segment.new_sounds import LevelRise, find_level_rises, measure_rise
from components.segment.noise_floor import estimate_noise_floor
from components.segment.segment_bounds import SHORTEST_PART_S, find_sounds
from components.segment.settings import Settings

Rises = tuple[NDArray[np.float64], NDArray[np.bool_]]  # [rises, measures], and whether a new sound begins
_BEFORE_S, _BEHIND_S = 0.08, 0.25  # a rise this far from an onset is this onset
_UNCLEAR_S = 0.5  # other rises this near an onset are neither


def label_rises(take: SimulatedTake) -> Rises:
    """The rises within the sounds that segment finds: a new sound begins where silence alone shows no onset."""
    heard, settings = hear_take(take), Settings()
    demanded = [sound for sound in take.sounds if sound.demanded]
    starts = [start for start, _ in find_spans(heard, new_sound_probability=1.0)]
    found = {j for _, j in match_onsets(starts, demanded)}
    missed = [sound for j, sound in enumerate(demanded) if j not in found]
    floor, values, new = estimate_noise_floor(heard, settings), [], []
    shortest = round(max(settings.min_s, SHORTEST_PART_S) / heard.hop_s)
    for span in find_sounds(heard, floor, settings):
        begin, earlier = span.first, list[LevelRise]()
        for rise in find_level_rises(span.first, span.last, heard, floor):
            is_new = any(
                sound.first_energy_s - _BEFORE_S < rise.hop * heard.hop_s < sound.onset_s + _BEHIND_S for sound in missed
            )
            if shortest <= rise.hop - begin and rise.hop <= span.last - shortest:
                if is_new or not _is_unclear(rise.hop * heard.hop_s, take.sounds):
                    values.append(measure_rise(rise, earlier, begin, span.last, heard).list_values())
                    new.append(is_new)
                if is_new:
                    begin, earlier = rise.hop, []
                    continue
            earlier.append(rise)
    return np.array(values).reshape(len(values), -1), np.array(new, np.bool_)


def _is_unclear(at_s: float, sounds: Sequence[TrueSound]) -> bool:
    near = [sound for sound in sounds if sound.first_energy_s - _UNCLEAR_S < at_s < sound.onset_s + _UNCLEAR_S]
    return any(not sound.continues for sound in near)  # the parts of one sound are better left together


def fit_weights(rises: Sequence[Rises], ridge: float = 1e-2, steps: int = 30) -> tuple[NDArray[np.float64], float]:
    """Logistic regression by Newton's method: the weights of the measures, and the bias."""
    values = np.concatenate([value for value, _ in rises if len(value)])
    new = np.concatenate([label for value, label in rises if len(value)]).astype(np.float64)
    inputs = np.column_stack([values, np.ones(len(values))])
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (new - probability) - ridge * weights
        curve = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + ridge * np.eye(len(weights))
        weights += np.linalg.solve(curve, slope)
    return weights[:-1], float(weights[-1])
