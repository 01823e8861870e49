"""Measures of the tiny base: what an ear would compare first, in numbers. numpy only; sounds are mono arrays [samples]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
Line = NDArray[np.float64]

_WINDOW, _HOP = 1024, 256


def compute_envelope(audio: Audio) -> Line:
    """Amplitude (RMS under a Hann window of 512) every 256 samples."""
    window = np.hanning(512)
    power = np.convolve(audio.astype(np.float64) ** 2, window / window.sum(), "same")
    return np.asarray(np.sqrt(power[::_HOP]))


def compute_correlation(a: Line, b: Line) -> float:
    """Pearson's; 0 where one of the lines is flat."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def find_dominant_hz(audio: Audio, rate_hz: int) -> float:
    """Frequency of the strongest partial of the whole sound, to a few cents: zero-padded spectrum, parabola at its peak."""
    padded = 1 << (4 * len(audio) - 1).bit_length()
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), padded)) + 1e-12)
    peak = int(np.argmax(spectrum[1:-1])) + 1
    left, mid, right = spectrum[peak - 1 : peak + 2]
    curve = left - 2 * mid + right
    return float((peak + (0.5 * (left - right) / curve if curve else 0.0)) * rate_hz / padded)


def measure_cents(a_hz: float, b_hz: float) -> float:
    """Distance of two pitches, always positive."""
    return float(abs(1200 * np.log2(a_hz / b_hz)))


def compute_spectrogram(audio: Audio) -> Line:
    """Magnitudes [frames, 513]."""
    padded = np.pad(audio.astype(np.float64), _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.asarray(np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)))


def compute_centroid_hz(audio: Audio, rate_hz: int) -> float:
    """Centre of gravity of the mean power spectrum."""
    power = (compute_spectrogram(audio) ** 2).mean(axis=0)
    return float((power * np.arange(len(power))).sum() / (power.sum() + 1e-12) * rate_hz / _WINDOW)


def compute_temporal_centre(audio: Audio) -> float:
    """Where the energy lies in time, 0 (all at the beginning) to 1: early for a pluck, 0.5 for a drone, late for a swell."""
    power = audio.astype(np.float64) ** 2
    return float((power * np.arange(len(power))).sum() / (power.sum() + 1e-12) / len(power))


def compute_flatness(audio: Audio) -> float:
    """Spectral flatness (geometric over arithmetic mean of power), averaged over frames by their energy; white noise is about 0.56."""
    power = compute_spectrogram(audio) ** 2 + 1e-12
    weight = power.sum(axis=1)
    flat = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    return float((flat * weight).sum() / weight.sum())


def compute_log_mel(audio: Audio, rate_hz: int, bands: int = 64) -> Line:
    """Log-mel spectrogram in dB [frames, bands], floor -80 dB."""
    hertz = np.arange(_WINDOW // 2 + 1) * rate_hz / _WINDOW
    mel = 2595 * np.log10(1 + hertz / 700)
    centres = np.linspace(mel[1], mel[-1], bands)
    width = max(centres[1] - centres[0], mel[2] - mel[1])
    bank = np.clip(1 - np.abs(mel[:, None] - centres) / width, 0, None)
    power = (compute_spectrogram(audio) / (_WINDOW / 4)) ** 2 @ (bank / (bank.sum(axis=0) + 1e-9))
    return np.asarray(10 * np.log10(power + 1e-8))


def measure_log_mel_distance_db(a: Audio, b: Audio, rate_hz: int) -> float:
    """Mean absolute difference of the log-mel spectrograms in dB."""
    n = min(len(a), len(b))
    return float(np.abs(compute_log_mel(a[:n], rate_hz) - compute_log_mel(b[:n], rate_hz)).mean())
