"""Detects tones below the broadband noise in narrow bands.

The noise of each narrow band is its median over the quiet windows of two minutes to both sides: long enough that a tone held
between two phrases does not count as noise, and that a hum which is switched on counts as noise from its start.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from components.segment.features import RecordingFeatures

Levels = NDArray[np.float32]
Runs = list[tuple[int, int]]
_AWAY_HOPS = 60  # 0.3 s
_NOISE_S = 120.0
_COUNTED = 700  # most windows for one median, whose error is then 3 %
_STEPS = 16  # medians per measuring window; noise changes slowly
_BATCH_WINDOWS = 4096  # windows at a time, to bound the memory
_CLEAR, _HINT, _CAP = 5.0, 1.0, 4.0  # standard deviations of noise
_TONE_S = 0.5
_HELD = 2.0


class NarrowBandDetector:
    """Compares the narrow bands of a recording with their noise.

    Attributes:
        audible: bool [windows], whether a narrow band is above the noise. False within clear sounds, so that they do not affect their
            neighbours.
    """

    def __init__(self, heard: RecordingFeatures, runs: Runs, clicks: Runs) -> None:
        """`runs`: hops (first, last) of clear sounds; noise is measured at some distance from them. `clicks` show no tone."""
        self._heard = heard
        windows, ratio = len(heard.spectrum), heard.hop_frames / heard.window_frames
        quiet, masked = np.ones(windows, np.bool_), np.zeros(windows, np.bool_)
        for first, last in runs:
            quiet[max(0, int((first - _AWAY_HOPS) * ratio)) : int((last + _AWAY_HOPS) * ratio) + 1] = False
            masked[int(first * ratio) : int(last * ratio) + 1] = True
        for first, last in clicks:
            masked[int(first * ratio) : int(last * ratio) + 1] = True
        self._quiet = np.flatnonzero(quiet)
        self._half = max(_STEPS, round(_NOISE_S * heard.sample_rate_hz / heard.window_frames))
        self._step = 2 * self._half // _STEPS
        self._noise = self._estimate_noise() if len(self._quiet) >= 8 else None
        self.audible = self._find_audible(masked)

    def _estimate_noise(self) -> Levels:
        """Mean power of noise around every `_step`th quiet window; a square's median is (1 - 1/9n)^3 of it (Wilson-Hilferty)."""
        every = max(1, 2 * self._half // _COUNTED)
        rows = []
        for at in range(0, len(self._quiet) + self._step, self._step):
            near = self._quiet[max(0, min(at, len(self._quiet) - 1) - self._half) : at + self._half : every]
            rows.append(np.median(self._heard.spectrum[near], axis=0))
        return np.asarray(np.maximum(rows, 1e-12) / _noise_quantile(self._heard.squares, 0), dtype=np.float32)

    def relative_power(self, first: int, last: int) -> Levels:
        """Power of the windows [first, last) relative to their noise: float32 [windows, bands], 1 is noise."""
        if self._noise is None:
            return np.ones((last - first, len(self._heard.squares)), np.float32)
        place = np.searchsorted(self._quiet, np.arange(first, last))
        at = np.minimum((place + self._step // 2) // self._step, len(self._noise) - 1)
        return np.asarray(self._heard.spectrum[first:last] / self._noise[at], dtype=np.float32)

    def _find_audible(self, masked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        audible = np.zeros(len(masked), np.bool_)
        if self._noise is None:
            return audible
        for first in range(0, len(masked), _BATCH_WINDOWS):
            last = min(first + _BATCH_WINDOWS, len(masked))
            low, high = max(0, first - 1), min(len(masked), last + 1)
            over = self.relative_power(low, high)
            over[masked[low:high]] = 1
            audible[first:last] = _exceeds_noise(over, self._heard.squares)[first - low : last - low]
        return audible

    def has_steady_tone(self, first: int, last: int) -> bool:
        """Whether one narrow band stands out of the noise all through the windows [first, last)."""
        span = round(_TONE_S * self._heard.sample_rate_hz / self._heard.window_frames)
        if last - first < 2 * span:
            return False
        over, squares = self.relative_power(first, last).astype(np.float64), self._heard.squares
        sums = np.cumsum(np.vstack([np.zeros((1, over.shape[1])), over]), axis=0)
        weakest = (sums[span:] - sums[:-span]).min(axis=0) / span
        held = (weakest > _noise_quantile(span * squares, _HELD)) & (
            over.mean(axis=0) > _noise_quantile(len(over) * squares, _CLEAR)
        )
        return bool(held.any())


def _exceeds_noise(over: Levels, squares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a band of a window is too loud to be noise: clearly, or slightly and together with its neighbours.

    Neighbours are capped, so that an attack does not mark the window before it.
    """
    capped = np.minimum(over, _noise_quantile(squares, _CAP).astype(np.float32))
    hint = (over > _noise_quantile(squares, _HINT)) & (uniform_filter1d(capped, 3, axis=0) > _noise_quantile(3 * squares, _CLEAR))
    return np.asarray(((over > _noise_quantile(squares, _CLEAR)) | hint).any(axis=1))


def _noise_quantile(squares: NDArray[np.float64], deviations: float) -> NDArray[np.float64]:
    """The quantile of the mean of `squares` squares of noise, relative to its mean, at this number of standard deviations.

    Wilson and Hilferty, 1931: the cube root of a chi-square is nearly normal.
    """
    return np.asarray((1 - 1 / (9 * squares) + deviations * np.sqrt(1 / (9 * squares))) ** 3)
