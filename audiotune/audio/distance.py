"""Distances between sounds: log-mel distance and likeness of two sounds, kernel audio distance of two sets of sounds.

No model is downloaded: statistics of the mel spectrum and, where given, of the latents describe a sound.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.sound import Sound, to_decibels

Matrix = NDArray[np.float64]
Mel = NDArray[np.float64]  # [bands, frames], dB below the sound's own loudest cell
Kernel = Literal["rbf", "polynomial"]

RATE_HZ = 22_050
BANDS = 64
_WINDOW = 1024
_HOP = 256
_FLOOR_DB = -80.0
_POOL = 4  # frames pooled into one, and half as many bands, where likeness is searched: 46 ms
_LIKE_FLOOR_DB = -50.0  # lower levels count as noise in a likeness
_SHIFTS = 8  # pooled frames that a copy may begin earlier or later: 0.37 s
KAD_SCALE = 100.0


def compute_log_mel(sound: Sound) -> Mel:
    """Log-mel spectrogram in dB relative to its own loudest cell, floored at -80: float64 [64 bands, frames].

    22.05 kHz mono, 1024-point Hann frames every 256; bands from 30 Hz to 11 kHz on the mel scale of O'Shaughnessy (1987).
    Digital silence is at the floor everywhere.
    """
    data = sound.to_mono().resample(RATE_HZ).data[0].astype(np.float64)
    data = np.pad(data, (0, max(0, _WINDOW - len(data))))
    frames = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ _build_mel_filters().T
    loudest = float(power.max())
    if loudest <= 1e-12:
        return np.full(power.T.shape, _FLOOR_DB)
    return np.asarray(np.maximum(10 * np.log10(np.maximum(power, 1e-12) / loudest), _FLOOR_DB).T)


def measure_mel_distance(a: Mel, b: Mel) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB over the shorter length; 0 is equal, level does not count."""
    frames = min(a.shape[1], b.shape[1])
    return float(np.abs(a[:, :frames] - b[:, :frames]).mean())


def compute_mel_statistics(mel: Mel) -> Matrix:
    """Statistics of one sound as one vector: mean, spread, 10th and 90th percentile over time of its log-mel bands, and mean
    and spread of how fast they change: float64 [6 * bands]."""
    level = mel / -_FLOOR_DB
    change = np.diff(level, axis=1) if level.shape[1] > 1 else np.zeros((len(level), 1))
    parts = [level.mean(axis=1), level.std(axis=1), *np.quantile(level, [0.1, 0.9], axis=1), np.abs(change).mean(axis=1)]
    return np.concatenate([*parts, change.std(axis=1)])


def compute_latent_statistics(latents: NDArray[np.float32]) -> Matrix:
    """Mean and spread over time of latents [latent_channels, latent_frames]: float64 [2 * latent_channels]."""
    wide = latents.astype(np.float64)
    return np.concatenate([wide.mean(axis=1), wide.std(axis=1)])


def balance_statistics(reference: Sequence[Matrix], *others: Sequence[Matrix]) -> list[Matrix]:
    """Joins several kinds of statistics into one embedding in which each kind has the same total variance in the reference.

    Takes one matrix [sounds, values] for each kind. Returns a matrix [sounds, all values] for the reference and for each other set.
    """
    scales = [1 / max(float(np.sqrt(kind.var(axis=0).sum())), 1e-9) for kind in reference]
    return [np.concatenate([kind * scale for kind, scale in zip(kinds, scales)], axis=1) for kinds in (reference, *others)]


def compute_kad(reference: Matrix, other: Matrix, kernel: Kernel = "rbf") -> float:
    """Kernel audio distance of two sets of embeddings [sounds, values]; about 0 for sets of one kind, larger is farther.

    The unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) times 100, as Chung et al. 2025, "KAD: No More
    FAD!" (arXiv 2502.15602) define it: a Gaussian kernel whose width is the median distance within the reference. `polynomial`
    is (x.y / values + 1)^3 instead, of embeddings scaled by that width. Can be slightly negative, because it is unbiased.

    Raises ValueError: a set of fewer than two sounds, or sets of embeddings of different length.
    """
    if min(len(reference), len(other)) < 2:
        raise ValueError("each set needs at least two sounds")
    if reference.shape[1] != other.shape[1]:
        raise ValueError(f"embeddings of {reference.shape[1]} and of {other.shape[1]} values cannot be compared")
    width = compute_median_distance(reference)
    x, y = reference / width, other / width
    within_x, within_y, across = (compute_kernel(kernel, a, b) for a, b in ((x, x), (y, y), (x, y)))
    return KAD_SCALE * (_average_off_diagonal(within_x) + _average_off_diagonal(within_y) - 2 * float(across.mean()))


def compute_median_distance(rows: Matrix) -> float:
    """Median distance between two different rows; 1 where all are equal."""
    squared = _squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    return float(np.sqrt(np.median(squared))) or 1.0


def measure_mean_distance(rows: Matrix) -> float:
    """Mean distance between two different rows."""
    return float(np.sqrt(_squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]).mean())


def compute_likeness(a: Sequence[Mel], b: Sequence[Mel]) -> Matrix:
    """How alike each sound of `a` is to each of `b`, at the best of all shifts up to 0.37 s: float64 [len(a), len(b)], up to 1.

    The correlation of log-mel spectrograms (pooled to 46 ms and 32 bands, 50 dB deep, from the first frame with sound), each
    taken from its own mean; level does not count.
    """
    width = max((-(-mel.shape[1] // _POOL) for mel in (*a, *b)), default=1) + _SHIFTS
    x, y = _pool_mels(a, width), _pool_mels(b, width)
    best = np.full((len(a), len(b)), -1.0)
    for shift in range(-_SHIFTS, _SHIFTS + 1):
        moved = np.roll(y, shift, axis=2)  # the zeros at the end are as long as the longest shift, so no sound wraps round
        best = np.maximum(best, np.tensordot(x, moved, axes=([1, 2], [1, 2])))
    return np.asarray(np.minimum(best, 1.0))


def measure_flatness(sound: Sound) -> float:
    """Spectral flatness of the whole sound, 0 (a tone) to about 0.56 (white noise): geometric over arithmetic mean power."""
    power = _compute_power(sound)
    total = float(power.mean()) if sound.frames else 0.0
    return float(np.exp(np.log(power + 1e-9 * total).mean()) / total) if total > 0 else 0.0


def measure_centroid_hz(sound: Sound) -> float:
    """Centre of gravity of the power spectrum in Hz; 0 for silence."""
    power = _compute_power(sound)
    total = power.sum()
    return float((power * np.fft.rfftfreq(sound.frames, 1 / sound.sample_rate_hz)).sum() / total) if total else 0.0


def measure_sustain_db(sound: Sound) -> float:
    """How a sound sustains: its RMS in the third quarter over that in the first, in dB. A pluck is far below 0, a drone near it."""
    quarters = np.array_split(sound.to_mono().data[0].astype(np.float64), 4)
    first, third = (float(np.sqrt((quarter**2).mean())) if len(quarter) else 0.0 for quarter in (quarters[0], quarters[2]))
    return to_decibels(max(third, 1e-6)) - to_decibels(max(first, 1e-6))


def _compute_power(sound: Sound) -> Matrix:
    return np.asarray(np.abs(np.fft.rfft(sound.to_mono().data[0].astype(np.float64))) ** 2)


def _pool_mels(mels: Sequence[Mel], width: int) -> Matrix:
    """Pooled, taken from their own mean, padded with zeros to `width` and scaled to length 1: [sounds, bands / 2, width]."""
    grid = np.zeros((len(mels), BANDS // 2, width))
    for row, whole in zip(grid, mels):
        mel = np.maximum(whole[:, _find_onset(whole) :], _LIKE_FLOOR_DB)
        frames = -(-mel.shape[1] // _POOL)
        full = np.pad(mel, ((0, 0), (0, frames * _POOL - mel.shape[1])), mode="edge")
        pooled = full.reshape(BANDS // 2, 2, frames, _POOL).mean(axis=(1, 3))
        row[:, :frames] = pooled - pooled.mean()
        row /= max(float(np.linalg.norm(row)), 1e-9)
    return grid


def _find_onset(mel: Mel) -> int:
    """The first frame with sound in it; 0 for silence."""
    return int((mel.max(axis=0) > _LIKE_FLOOR_DB).argmax())


def compute_kernel(kernel: Kernel, x: Matrix, y: Matrix) -> Matrix:
    """Similarities [len(x), len(y)] of embeddings that are scaled by the width of the kernel."""
    return np.asarray(np.exp(-_squared_distances(x, y) / 2) if kernel == "rbf" else (x @ y.T / x.shape[1] + 1) ** 3)


def _average_off_diagonal(k: Matrix) -> float:
    return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))


def _squared_distances(a: Matrix, b: Matrix) -> Matrix:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))


@functools.cache
def _build_mel_filters() -> Matrix:
    """Triangular mel filters [bands, bins]."""
    mel = 2595 * np.log10(1 + np.array([30.0, RATE_HZ / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(mel[0], mel[1], BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    nearest_bin = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)
    empty = filters.sum(axis=1) == 0  # bands narrower than a bin take the nearest one
    filters[empty, nearest_bin[empty]] = 1.0
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))
