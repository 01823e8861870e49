"""Finds where a new sound begins while another one still sounds: players who overlap, and reverberation that is not yet over.

A level that rises suddenly may be a new sound, or the next note of the same one. Six measures tell them apart. The weights are a
logistic regression on the first half of the simulated takes (`python -m benchmarks.onsets --fit`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from components.segment.features import RecordingFeatures
from components.segment.noise_floor import Levels, NoiseFloor, power_to_db
from components.segment.settings import Settings
from components.segment.spectra import measure_mean_spectrum, measure_spectral_distance_db

# Levels before and behind a hop that are compared: over 50 and 30 ms for attacks, 100 and 200 ms for slow rises.
_COMPARED_HOPS = ((10, 6), (20, 40))
_LEAST_RISE_DB = 4.0
_APART_HOPS = 20  # 100 ms around a rise there is no higher one
_BATCH_HOPS = 1 << 15
_MARGIN_HOPS = 64
_EXTRA_DB = np.array([3, 0, 0, 0], np.float32)  # the lowest band has few cycles in 30 ms, and its level varies
_OVER_NOISE_DB = 3.0  # lower levels are taken for this, so that noise does not rise
_DEPTH_DB = 40.0  # below the strongest band: lower levels are taken for this
# Parts whose spectra are compared, in hops from the rise: shortly and long before, the beginning of the new sound, and later.
_SHORTLY, _LONG, _BEGINNING, _LATER = (-60, -18), (-200, -18), (10, 110), (200, 400)
_LEAST_LATER_HOPS = 20
_ATTACK_HOPS = 4  # before a rise, that its smoothing may reach
_RECENT_HOPS, _SIMILAR_RISE = 400, 0.6  # rises of 2 s before that are at least this share of a rise in dB
_REPEATS, _REPEAT_HOPS, _REPEAT_RISE = 8, 1200, 0.4  # beginnings of 6 s before that a new one is compared with
_MOST_UNLIKE_DB = 120.0  # the range of levels
_HIGHER = 2.0  # times as many dB: a rise this much higher that follows within the beginning
WEIGHTS = (0.849, 0.630, 0.340, 1.396, 0.649, 2.042)
BIAS = -12.71


@dataclass(frozen=True)
class LevelRise:
    """A hop where a band rises, and by how much in dB."""

    hop: int
    rise_db: float


@dataclass(frozen=True)
class RiseMeasures:
    """What tells a new sound from the next note of the same one.

    Attributes:
        rise_db: of the band that rises most.
        unlike_earlier_db: spectral distance to the most similar earlier beginning in the sound.
        change_db: spectral distance between shortly before and the beginning. lasting_change_db: between long before and later.
        added_db: mean rise of the narrow bands that rise.
        alone: whether there was no similar rise shortly before.
    """

    rise_db: float
    unlike_earlier_db: float
    change_db: float
    lasting_change_db: float
    added_db: float
    alone: bool

    def list_values(self) -> tuple[float, ...]:
        """In the order of WEIGHTS. Logarithms of what is in dB: each measure counts by its ratio."""
        in_db = self.rise_db, self.unlike_earlier_db, self.change_db, self.lasting_change_db, self.added_db
        return (*(float(np.log(max(0.5, value))) for value in in_db), float(self.alone))

    @property
    def probability(self) -> float:
        evidence = BIAS + sum(weight * value for weight, value in zip(WEIGHTS, self.list_values(), strict=True))
        return float(1 / (1 + np.exp(-evidence)))


def find_new_sounds(
    span: tuple[int, int],
    beats: Sequence[int],
    heard: RecordingFeatures,
    floor: NoiseFloor,
    shortest_hops: int,
    settings: Settings,
) -> list[int]:
    """The hops of a sound where new sounds begin, at least `shortest_hops` apart and from both ends.

    What is as like to an earlier beginning as `likeness_db` says is the same sound again, and so is a note at regular intervals.

    Args:
        span: first and last hop of the sound, half-open.
        beats: where notes at regular intervals begin.
    """
    begin, last = span
    found: list[int] = []
    earlier: list[LevelRise] = []
    rises = list(find_level_rises(begin, last, heard, floor))
    for rise, following in zip_longest(rises, rises[1:]):
        fits = shortest_hops <= rise.hop - begin and rise.hop <= last - shortest_hops
        known = any(abs(rise.hop - beat) < _APART_HOPS for beat in beats) or _leads_to(rise, following)
        if fits and not known and _is_new(rise, earlier, begin, last, heard, settings):
            found.append(rise.hop)
            begin, earlier = rise.hop, []
        else:
            earlier.append(rise)
    return found


def _leads_to(rise: LevelRise, following: LevelRise | None) -> bool:
    """Whether a much higher rise follows so soon that it would be taken for this one's sound."""
    return following is not None and following.hop - rise.hop < _BEGINNING[1] and following.rise_db > _HIGHER * rise.rise_db


def _is_new(
    rise: LevelRise, earlier: list[LevelRise], first: int, last: int, heard: RecordingFeatures, settings: Settings
) -> bool:
    measures = _measure_change(rise, earlier, first, last, heard)
    if measures.probability < settings.new_sound_probability:
        return False  # whatever the earlier beginnings are like, which takes most of the time to measure
    unlike_earlier_db = _measure_unlike_earlier_db(rise, earlier, first, last, heard)
    sure = replace(measures, unlike_earlier_db=unlike_earlier_db).probability >= settings.new_sound_probability
    return sure and unlike_earlier_db >= settings.likeness_db


def find_level_rises(first: int, last: int, heard: RecordingFeatures, floor: NoiseFloor) -> Iterator[LevelRise]:
    """Sudden rises of the level within a sound, in order of time."""
    for start in range(first, last, _BATCH_HOPS):
        low, high = max(0, start - _MARGIN_HOPS), min(len(heard.power), min(last, start + _BATCH_HOPS) + _MARGIN_HOPS)
        level = np.maximum(power_to_db(heard.power[low:high]), floor.levels_at(low, high) + _OVER_NOISE_DB)
        sudden, slow = (_measure_rise_db(level, *hops) for hops in _COMPARED_HOPS)
        rise = np.maximum(sudden, slow)
        highest = (rise >= maximum_filter1d(rise, 2 * _APART_HOPS + 1)) & (rise > _LEAST_RISE_DB)
        inside = slice(max(start, first + _APART_HOPS) - low, min(last, start + _BATCH_HOPS) - low)
        for at in np.flatnonzero(highest[inside]) + inside.start:
            yield LevelRise(low + _refine_attack(int(at), sudden), float(rise[at]))


def find_attack(first: int, last: int, heard: RecordingFeatures, floor: NoiseFloor) -> LevelRise:
    """The most sudden rise in the hops [first, last)."""
    low, high = max(0, first - _MARGIN_HOPS), min(len(heard.power), last + _MARGIN_HOPS)
    level = np.maximum(power_to_db(heard.power[low:high]), floor.levels_at(low, high) + _OVER_NOISE_DB)
    sudden = _measure_rise_db(level, *_COMPARED_HOPS[0])[first - low : last - low]
    return LevelRise(first + int(np.argmax(sudden)), float(sudden.max()))


def _refine_attack(at: int, sudden: Levels) -> int:
    """The exact hop: the mean over 200 ms rises before an attack that comes later in them."""
    attack = at + int(np.argmax(sudden[at : at + _APART_HOPS]))
    return attack if sudden[attack] > _LEAST_RISE_DB else at


def _measure_rise_db(level: Levels, before_hops: int, behind_hops: int) -> Levels:
    """How much the band that rises most is louder behind each hop than before it: float32 [hops]. Numbers of hops are even."""
    behind = uniform_filter1d(level, behind_hops, axis=0, origin=-(behind_hops // 2))
    before = uniform_filter1d(level, before_hops, axis=0, origin=before_hops // 2 - 1)
    rise = np.zeros(len(level), np.float32)
    rise[1:] = (behind[1:] - before[:-1] - _EXTRA_DB).max(axis=1)
    return rise


def measure_rise(rise: LevelRise, earlier: list[LevelRise], first: int, last: int, heard: RecordingFeatures) -> RiseMeasures:
    """Measures a rise in the sound [first, last). `earlier`: the rises before it in this sound."""
    measures = _measure_change(rise, earlier, first, last, heard)
    return replace(measures, unlike_earlier_db=_measure_unlike_earlier_db(rise, earlier, first, last, heard))


def _measure_change(rise: LevelRise, earlier: list[LevelRise], first: int, last: int, heard: RecordingFeatures) -> RiseMeasures:
    """All measures but the likeness to earlier beginnings, which is the highest possible."""
    beginning, shortly, long = (_spectrum_at(rise.hop, part, first, last, heard) for part in (_BEGINNING, _SHORTLY, _LONG))
    later = measure_mean_spectrum(min(last - _LEAST_LATER_HOPS, rise.hop + _LATER[0]), min(last, rise.hop + _LATER[1]), heard)
    lowest = max(long.max(), beginning.max()) - _DEPTH_DB
    return RiseMeasures(
        rise.rise_db,
        _MOST_UNLIKE_DB,
        measure_spectral_distance_db(shortly, beginning),
        measure_spectral_distance_db(long, later),
        float(np.maximum(np.maximum(beginning, lowest) - np.maximum(long, lowest), 0).mean()),
        not any(rise.hop - other.hop < _RECENT_HOPS and other.rise_db > _SIMILAR_RISE * rise.rise_db for other in earlier),
    )


def _measure_unlike_earlier_db(
    rise: LevelRise, earlier: list[LevelRise], first: int, last: int, heard: RecordingFeatures
) -> float:
    """Spectral distance to the most similar of the sound's beginning and of earlier rises."""
    beginning = _spectrum_at(rise.hop, _BEGINNING, first, last, heard)
    recent = (other for other in earlier if rise.hop - other.hop < _REPEAT_HOPS)
    starts = [other.hop for other in recent if other.rise_db > _REPEAT_RISE * rise.rise_db][-_REPEATS:]
    until = rise.hop - _ATTACK_HOPS
    spectra = [_spectrum_at(start, _BEGINNING, first, until, heard) for start in starts]
    spectra.append(measure_mean_spectrum(first, min(first + _BEGINNING[1], until), heard))
    return min(measure_spectral_distance_db(spectrum, beginning) for spectrum in spectra)


def _spectrum_at(hop: int, part: tuple[int, int], first: int, last: int, heard: RecordingFeatures) -> Levels:
    """The mean spectrum of a part around a hop, within [first, last)."""
    return measure_mean_spectrum(max(first, hop + part[0]), min(last, hop + part[1]), heard)
