"""How far sounds are apart: log-mel distance between two sounds, kernel audio distance between two sets of them.

Needs no download: what a sound is like is told by statistics of its mel spectrum (and, where given, of its latents).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiotune.sound import Sound, decibels

Matrix = NDArray[np.float64]
RATE_HZ = 22_050
_BANDS = 64
_WINDOW = 1024
_HOP = 256
_FLOOR_DB = -80.0


def log_mel(sound: Sound) -> Matrix:
    """Log-mel spectrogram in dB relative to its own loudest cell, floored at -80: float64 [64 bands, frames].

    22.05 kHz mono, 1024-point Hann frames every 256; bands from 30 Hz to 11 kHz on the mel scale of O'Shaughnessy (1987).
    """
    data = sound.mono().resampled(RATE_HZ).data[0].astype(np.float64)
    data = np.pad(data, (0, max(0, _WINDOW - len(data))))
    frames = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ _filters().T
    level = 10 * np.log10(np.maximum(power, 1e-12))
    return np.asarray(np.maximum(level - level.max(), _FLOOR_DB).T)


def log_mel_distance(a: Sound, b: Sound) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB, level taken out, over the shorter length; 0 is equal."""
    x, y = log_mel(a), log_mel(b)
    frames = min(x.shape[1], y.shape[1])
    return float(np.abs(x[:, :frames] - y[:, :frames]).mean())


def embedding(sound: Sound, latents: NDArray[np.float32] | None = None) -> Matrix:
    """What a sound is like, as one vector: mean, spread and quartiles over time of its log-mel bands, how fast they change,
    and mean and spread of its latents [latent_channels, latent_frames] where given."""
    mel = log_mel(sound) / -_FLOOR_DB
    change = np.abs(np.diff(mel, axis=1)).mean(axis=1) if mel.shape[1] > 1 else np.zeros(len(mel))
    parts = [mel.mean(axis=1), mel.std(axis=1), *np.quantile(mel, [0.1, 0.9], axis=1), change]
    if latents is not None:
        parts += [latents.mean(axis=1) / 2, latents.std(axis=1) / 2]
    return np.concatenate(parts)


def kad(reference: Matrix, other: Matrix) -> float:
    """Kernel audio distance of two sets of embeddings [sounds, values]; about 0 for sets of one kind, larger is farther.

    1000 times the unbiased squared maximum mean discrepancy with a Gaussian kernel whose width is the median distance within the
    reference (Chung et al. 2025, "KAD: No More FAD!"; Gretton et al. 2012). Can be slightly negative.

    Raises:
        ValueError: a set of fewer than two sounds.
    """
    if min(len(reference), len(other)) < 2:
        raise ValueError("each set needs at least two sounds")
    within = _squared(reference, reference)
    median = float(np.median(within[np.triu_indices(len(reference), 1)])) or 1.0

    def kernel(squared: Matrix) -> Matrix:
        return np.asarray(np.exp(-squared / (2 * median)))

    def mean_off_diagonal(k: Matrix) -> float:
        n = len(k)
        return float((k.sum() - np.trace(k)) / (n * (n - 1)))

    cross = float(kernel(_squared(reference, other)).mean())
    return 1000 * (mean_off_diagonal(kernel(within)) + mean_off_diagonal(kernel(_squared(other, other))) - 2 * cross)


def nearest(wanted: Matrix, among: Matrix) -> tuple[NDArray[np.int64], Matrix]:
    """For each row of `wanted`, which row of `among` is nearest and how far, each value scaled by its spread in `among`."""
    spread = among.std(axis=0) + 1e-6
    distances = np.sqrt(_squared(wanted / spread, among / spread) / wanted.shape[1])
    found = distances.argmin(axis=1)
    return found, distances[np.arange(len(wanted)), found]


def flatness(sound: Sound) -> float:
    """Spectral flatness of the whole sound, 0 (a tone) to about 0.56 (white noise): geometric over arithmetic mean power."""
    data = sound.mono().data[0].astype(np.float64)
    power = np.abs(np.fft.rfft(data)) ** 2 + 1e-12
    return float(np.exp(np.log(power).mean()) / power.mean())


def centroid_hz(sound: Sound) -> float:
    """Centre of gravity of the power spectrum in Hz; 0 for silence."""
    data = sound.mono().data[0].astype(np.float64)
    power = np.abs(np.fft.rfft(data)) ** 2
    total = power.sum()
    return float((power * np.fft.rfftfreq(len(data), 1 / sound.sample_rate_hz)).sum() / total) if total else 0.0


def sustain(sound: Sound) -> float:
    """How a sound holds: its RMS in the third quarter over that in the first, in dB. A pluck is far below 0, a drone near it."""
    data = sound.mono().data[0].astype(np.float64)
    quarters = np.array_split(data, 4)
    first, third = (float(np.sqrt((quarter**2).mean())) if len(quarter) else 0.0 for quarter in (quarters[0], quarters[2]))
    return decibels(max(third, 1e-6)) - decibels(max(first, 1e-6))


def stacked(sounds: Sequence[Sound]) -> Matrix:
    """The embeddings of several sounds, one row each."""
    return np.stack([embedding(sound) for sound in sounds])


def _squared(a: Matrix, b: Matrix) -> Matrix:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))


@functools.cache
def _filters() -> Matrix:
    """Triangular mel filters [bands, bins]."""
    mel = 2595 * np.log10(1 + np.array([30.0, RATE_HZ / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(mel[0], mel[1], _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    nearest_bin = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)
    empty = filters.sum(axis=1) == 0  # bands narrower than a bin still hear the nearest one
    filters[empty, nearest_bin[empty]] = 1.0
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))
