"""Features of a recording of any length, from one streaming pass at its native sample rate.

Levels of four wide bands every 5 ms locate sounds in time. Levels of 48 narrow bands about every 85 ms show timbre and tones far
below the broadband noise. The features of two hours take 30 MB.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Frames
from components.segment.compact_arrays import GrowingArray, PowerArray

HOP_S = 0.005
CROSSOVERS_HZ = (150.0, 900.0, 5000.0)  # between the bands: rumble and bass, body, presence, air
BANDS = len(CROSSOVERS_HZ) + 1
WINDOW_S = 0.085
NARROW_BANDS = 48
_HANN_SHARE = 0.6  # neighbouring bins under a Hann window are not independent
_POWER_SCALE = 2.0**10  # full precision from -144 dBFS to +36 dBFS
_SPECTRUM_SCALE = 2.0**15  # of a window; a windowed sine at full scale is 16 dB below the highest power
_Levels = tuple[PowerArray, NDArray[np.float32], NDArray[np.int16]]


@dataclass(frozen=True)
class RecordingFeatures:
    """The features of one recording.

    Attributes:
        power: [hops, bands], mean square of each band, summed over the channels, after the high-pass.
        peak: float32 [hops], highest absolute frame of any channel, before the high-pass.
        crossings: int16 [hops], zero crossings of the first channel after the high-pass.
        spectrum: [windows, narrow bands], power of a Hann window of `window_frames`, no overlap.
        squares: float64 [narrow bands], number of independent squares in the sum of each power.
        hop_frames: frames per hop; the last hop may be shorter.
        frames: length of the recording.
    """

    power: PowerArray
    peak: NDArray[np.float32]
    crossings: NDArray[np.int16]
    spectrum: PowerArray
    squares: NDArray[np.float64]
    hop_frames: int
    window_frames: int
    frames: int
    sample_rate_hz: int
    channels: int

    @property
    def hop_s(self) -> float:
        return self.hop_frames / self.sample_rate_hz

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz


def extract_features(blocks: Iterable[Frames], sample_rate_hz: int, highpass_hz: float) -> RecordingFeatures:
    """Extracts the features from blocks of float32 [frames, channels] of any length.

    Args:
        highpass_hz: corner of the second-order high-pass (Butterworth) that removes DC and rumble before the analysis.
    """
    hop = max(1, round(HOP_S * sample_rate_hz))
    extractor = _FeatureExtractor(hop, _design_filters(sample_rate_hz, highpass_hz), _SpectrumAnalyser(sample_rate_hz))
    frames, channels = 0, 1
    for block in blocks:
        frames, channels = frames + len(block), block.shape[1]
        extractor.add_block(block)
    power, peak, crossings = extractor.finish()
    spectrum = extractor.spectrum
    squares = spectrum.bins * min(channels, 2) * _HANN_SHARE
    return RecordingFeatures(
        power, peak, crossings, spectrum.finish(), squares, hop, spectrum.frames, frames, sample_rate_hz, channels
    )


class _FeatureExtractor:
    """Processes blocks of any length in whole hops; keeps the rest for the next block."""

    def __init__(self, hop: int, filters: NDArray[np.float64], spectrum: _SpectrumAnalyser) -> None:
        self.hop, self.filters, self.spectrum = hop, filters, spectrum
        self._state = np.zeros((0, 4, 2))
        self._rest: Frames = np.zeros((0, 1), np.float32)
        self._power = PowerArray(BANDS, _POWER_SCALE)
        self._peak, self._crossings = GrowingArray((0,), np.float32), GrowingArray((0,), np.int16)

    def add_block(self, block: Frames) -> None:
        if not len(self._state) and len(block):
            self._state = np.zeros((block.shape[1], len(self.filters), 2))
            self._state[:, 0] = block[0, :, None] * self.filters[0, [0, 2]] * (-1, 1)  # a DC offset has no onset
        joined = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(joined) // self.hop * self.hop
        if whole:
            self._add_hops(joined[:whole], self.hop)
        self._rest = joined[whole:].copy()
        self.spectrum.add_block(block)

    def _add_hops(self, frames: Frames, hop: int) -> None:
        hops = len(frames) // hop
        power = np.zeros((hops, BANDS), np.float32)
        out = self._peak.add_rows(hops), self._crossings.add_rows(hops)
        _filter_hops(np.ascontiguousarray(frames), hop, self.filters, self._state, power, *out)
        self._power.add(power)

    def finish(self) -> _Levels:
        if len(self._rest):
            self._add_hops(self._rest, len(self._rest))
        return self._power.finish(), self._peak.trim_rows(), self._crossings.trim_rows()


class _SpectrumAnalyser:
    """Power in narrow bands of equal width in octaves, at least two bins. Two channels share one complex transform."""

    def __init__(self, rate: int) -> None:
        self.frames = 1 << max(6, round(np.log2(WINDOW_S * rate)))
        self._window = np.hanning(self.frames).astype(np.float32)
        edges = np.geomspace(40, 0.45 * rate, NARROW_BANDS + 1) * self.frames / rate
        first = [max(2, int(edges[0]))]
        for edge in edges[1:]:
            first.append(max(first[-1] + 2, int(edge)))
        self._first = np.array([f for f in first if f < self.frames // 2])
        self.bins = np.diff(self._first).astype(np.float64)
        self._rest: Frames = np.zeros((0, 1), np.float32)
        self._windows = PowerArray(len(self.bins), _SPECTRUM_SCALE / self.frames)

    def add_block(self, block: Frames) -> None:
        joined = np.concatenate([self._rest, block]) if len(self._rest) else block
        windows = len(joined) // self.frames
        if windows:
            power = np.zeros((windows, len(self.bins)), np.float32)
            self._transform_windows(joined[: windows * self.frames].reshape(windows, self.frames, -1), power)
            self._windows.add(power)
        self._rest = joined[windows * self.frames :].copy()

    def _transform_windows(self, frames: Frames, out: NDArray[np.float32]) -> None:
        """[windows, frames, channels] -> out [windows, bands]. Left + i right: the bins k and -k hold the power of both."""
        from scipy.fft import fft, rfft

        # One long row per window: numpy is slow for rows of two channels.
        window = np.repeat(self._window, frames.shape[2])
        windowed = (frames.reshape(len(frames), -1) * window).reshape(frames.shape)
        if frames.shape[2] > 2:
            windowed = np.stack([windowed[:, :, 0::2].sum(axis=2), windowed[:, :, 1::2].sum(axis=2)], axis=2)
        if frames.shape[2] == 1:
            _sum_bands(rfft(windowed[:, :, 0], axis=1), self._first, False, out)
        else:
            _sum_bands(fft(windowed.view(np.complex64)[:, :, 0], axis=1, overwrite_x=True), self._first, True, out)

    def finish(self) -> PowerArray:
        return self._windows.finish()


def _design_filters(rate: int, highpass_hz: float) -> NDArray[np.float64]:
    """Biquads as rows b0 b1 b2 a1 a2: the high-pass, then a low-pass for each crossing (Butterworth, bilinear transform)."""
    return np.array([_design_biquad(highpass_hz, rate, True), *(_design_biquad(f, rate, False) for f in CROSSOVERS_HZ)])


def _design_biquad(corner_hz: float, rate: int, high: bool) -> list[float]:
    k = float(np.tan(np.pi * min(corner_hz / rate, 0.49)))
    norm = 1 / (1 + np.sqrt(2) * k + k * k)
    b = [norm, -2 * norm, norm] if high else [k * k * norm, 2 * k * k * norm, k * k * norm]
    return [*b, 2 * (k * k - 1) * norm, (1 - np.sqrt(2) * k + k * k) * norm]


@compile_kernel
def _sum_bands(bins, first, mirrored, out):  # type: ignore[no-untyped-def]
    """Complex [windows, bins] -> power in out [windows, bands]: bins first[b] to first[b + 1], with their mirror images or without."""
    for window in range(bins.shape[0]):
        for band in range(out.shape[1]):
            power = 0.0
            for k in range(first[band], first[band + 1]):
                power += bins[window, k].real ** 2 + bins[window, k].imag ** 2
                if mirrored:
                    power += bins[window, -k].real ** 2 + bins[window, -k].imag ** 2
            out[window, band] = 0.5 * power if mirrored else power


@compile_kernel
def _filter_hops(frames, hop, filters, state, power, peak, crossings):  # type: ignore[no-untyped-def]
    """Filters [hops x hop, channels] into power [hops, 4], peak [hops], crossings [hops]; changes state [channels, 4, 2].

    The four biquads (transposed direct form II) share one loop, so that the processor runs them in parallel. The brackets shorten
    the chain of operations that depend on the previous frame, which takes most of the time.
    """
    h0, h1, h2, h3, h4 = filters[0]
    a0, a1, a2, a3, a4 = filters[1]
    b0, b1, b2, b3, b4 = filters[2]
    c0, c1, c2, c3, c4 = filters[3]
    scale = 1.0 / hop
    for channel in range(frames.shape[1]):
        s = state[channel]
        hs, ht, as_, at, bs, bt, cs, ct = s[0, 0], s[0, 1], s[1, 0], s[1, 1], s[2, 0], s[2, 1], s[3, 0], s[3, 1]
        last = False
        for n in range(power.shape[0]):
            p0 = p1 = p2 = p3 = 0.0
            top = np.float32(0.0)
            crossed = 0
            for i in range(n * hop, (n + 1) * hop):
                raw = frames[i, channel]
                top = max(top, abs(raw))
                x = float(raw)
                y = h0 * x + hs
                hs = (h1 * x + ht) - h3 * y
                ht = h2 * x - h4 * y
                u = a0 * y + as_
                as_ = (a1 * y + at) - a3 * u
                at = a2 * y - a4 * u
                v = b0 * y + bs
                bs = (b1 * y + bt) - b3 * v
                bt = b2 * y - b4 * v
                w = c0 * y + cs
                cs = (c1 * y + ct) - c3 * w
                ct = c2 * y - c4 * w
                p0 += u * u
                p1 += (v - u) * (v - u)
                p2 += (w - v) * (w - v)
                p3 += (y - w) * (y - w)
                sign = y > 0.0
                crossed += sign != last
                last = sign
            power[n, 0] += p0 * scale
            power[n, 1] += p1 * scale
            power[n, 2] += p2 * scale
            power[n, 3] += p3 * scale
            peak[n] = max(peak[n], top)
            if channel == 0:
                crossings[n] = crossed
        # Denormal numbers would make silence slow.
        s[0, 0], s[0, 1], s[1, 0], s[1, 1], s[2, 0], s[2, 1], s[3, 0], s[3, 1] = hs, ht, as_, at, bs, bt, cs, ct
        for row in range(4):
            for column in range(2):
                if abs(s[row, column]) < 1e-30:
                    s[row, column] = 0.0
