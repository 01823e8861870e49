"""Mean spectra of parts of a recording, and how far apart two are."""

import numpy as np

from components.segment.features import RecordingFeatures
from components.segment.noise_floor import Levels, power_to_db

_PROMINENT_DB = 15.0  # below the strongest band: the bands that two spectra are compared in


def measure_mean_spectrum(first: int, last: int, heard: RecordingFeatures) -> Levels:
    """Mean level of each narrow band over the hops [first, last), at least one window: float32 [narrow bands], in dB."""
    ratio = heard.hop_frames / heard.window_frames
    start = max(0, min(int(first * ratio), len(heard.spectrum) - 1))
    power = heard.spectrum[start : max(start + 1, int(np.ceil(last * ratio)))]
    return power_to_db(np.add.reduce(power, axis=0) / np.float32(len(power)))


def measure_spectral_distance_db(a: Levels, b: Levels) -> float:
    """Mean difference of two spectra in their prominent bands."""
    highest = np.maximum(a, b)
    prominent = highest > highest.max() - _PROMINENT_DB
    return float(np.abs(a - b)[prominent].sum() / np.count_nonzero(prominent))
