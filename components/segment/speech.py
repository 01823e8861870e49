"""Guesses from rhythm and spectrum whether a segment is talk. The flag removes no segment; members decide.

The level of speech moves at the rate of syllables, 2 to 8 times a second, and alternates between vowels (few zero crossings, energy
below 900 Hz) and consonants (many crossings, energy above 5 kHz) (E. Scheirer and M. Slaney, 1997, features 1 and 6). Vocal
synthesizers and busy drums can give the same result; whispering does not.
"""

import numpy as np

from components.segment.features import RecordingFeatures
from components.segment.noise_floor import power_to_db

_SHORTEST_S = 1.0


def detect_speech(heard: RecordingFeatures, start_frame: int, end_frame: int) -> bool:
    """Whether a part of a recording is probably talk."""
    first, last = start_frame // heard.hop_frames, end_frame // heard.hop_frames
    power, crossings = heard.power[first:last], heard.crossings[first:last].astype(np.float32)
    if len(power) * heard.hop_s < _SHORTEST_S:
        return False
    return _syllable_share(power.sum(axis=1), heard.hop_s) > 0.45 and _has_speech_alternation(power, crossings, heard.hop_s)


def _syllable_share(power: np.ndarray, hop_s: float) -> float:
    """Share of the envelope's modulation (0.5 to 20 Hz, in dB) between 2 and 8 Hz."""
    level = np.maximum(power_to_db(power), power_to_db(power.max(keepdims=True)) - 40)
    modulation = np.abs(np.fft.rfft((level - level.mean()) * np.hanning(len(level)))) ** 2
    hertz = np.fft.rfftfreq(len(level), hop_s)
    whole = modulation[(hertz >= 0.5) & (hertz < 20)].sum()
    return float(modulation[(hertz >= 2) & (hertz < 8)].sum() / whole) if whole > 0 else 0.0


def _has_speech_alternation(power: np.ndarray, crossings: np.ndarray, hop_s: float) -> bool:
    """Whether loud hops are mostly voiced, some hiss, and the two alternate."""
    level = power_to_db(power.sum(axis=1))
    loud = level > level.max() - 35
    rate_hz = crossings[loud] / (2 * hop_s)
    if len(rate_hz) < 50:
        return False
    hissing = rate_hz > 2500
    voiced = (rate_hz > 80) & (rate_hz < 1200)
    changes = np.count_nonzero(np.diff(hissing.astype(np.int8))) / (len(hissing) * hop_s)
    return bool(voiced.mean() > 0.5 and 0.05 < hissing.mean() < 0.4 and 1.5 < changes < 25)
