"""Loudness and true peak: ITU-R BS.1770-4 with the gate of EBU R128, in one streaming pass of constant memory.

Source: Recommendation ITU-R BS.1770-4 (10/2015), annex 1 (loudness) and annex 2 (true peak); EBU Tech 3341.
The standard gives the filters for 48 kHz. For every rate they are computed from their analogue prototypes
(B. De Man, "Evaluation of Implementations of the EBU R128 Loudness Measurement", AES 145, 2018).
"""

import math

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Frames, Sound, to_decibels

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_HOPS_PER_BLOCK = 4  # blocks of 400 ms that start every 100 ms
_SURROUND = {5: (1.0, 1.0, 1.0, 1.41, 1.41), 6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41)}  # L R C (LFE) Ls Rs

# BS.1770-4, annex 2: 48 taps in 4 phases of 12 that interpolate to four times the rate.
_HALF = np.fromstring(
    "0.0017089843750 0.0109863281250 -0.0196533203125 0.0332031250000 -0.0594482421875 0.1373291015625 "
    "0.9721679687500 -0.1022949218750 0.0476074218750 -0.0266113281250 0.0148925781250 -0.0083007812500 "
    "-0.0291748046875 0.0292968750000 -0.0517578125000 0.0891113281250 -0.1665039062500 0.4650878906250 "
    "0.7797851562500 -0.2003173828125 0.1015625000000 -0.0582275390625 0.0330810546875 -0.0189208984375",
    sep=" ",
).reshape(2, 12)
_PHASES = np.array([*_HALF, _HALF[1][::-1], _HALF[0][::-1]], dtype=np.float32)
_TAPS = _PHASES.shape[1]
_TAPS_BY_PHASE = np.ascontiguousarray(_PHASES[:, ::-1].T)  # reversed, because a window of frames has the oldest first
_LOOK = 512
_MOST_GAIN = float(np.abs(_PHASES).sum(axis=1).max())  # no interpolated value exceeds the highest frame near it by more


class LoudnessMeter:
    """Measures a stream of blocks.

    Args:
        sample_rate_hz: frames a second.
        channels: 5 and 6 are weighted as 5.0 and 5.1 surround; any other number as equal channels, because a take with eight
            channels is a mixer's inputs and not surround sound.
        true_peak: also measure the true peak.
    """

    def __init__(self, sample_rate_hz: int, channels: int, *, true_peak: bool = True) -> None:
        self._hop = max(1, round(sample_rate_hz / 10))
        self._weights = np.array(_SURROUND.get(channels, (1.0,) * channels))
        self._filter = _compute_k_weighting(sample_rate_hz)
        self._state = np.zeros((channels, 4))
        self._open = np.zeros(channels)  # squares of the hop that is not full yet
        self._filled = 0
        self._frames = 0
        self._squares: list[NDArray[np.float64]] = []  # one [hops] array a block: weighted sums over the channels
        self._total = 0.0
        self._tail = np.zeros((_TAPS - 1, channels), np.float32)
        self._peak = 0.0
        self._measures_peak = true_peak

    def add(self, frames: Frames) -> None:
        """Takes the next block, float32 [frames, channels]; blocks of any length give the same result."""
        if not len(frames):
            return
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        if frames.ndim == 1:
            frames = frames[:, None]
        hops = np.zeros((self._filled + len(frames)) // self._hop)
        self._filled, added = _add_weighted_squares(
            frames, self._filter, self._state, self._weights, self._open, self._filled, self._hop, hops
        )
        self._total += added
        self._frames += len(frames)
        if len(hops):
            self._squares.append(hops)
        if self._measures_peak:
            self._add_peak(frames)

    def _add_peak(self, frames: Frames) -> None:
        joined = np.concatenate([self._tail, frames])
        self._peak = max(self._peak, _find_true_peak(joined, self._peak))
        self._tail = joined[-(_TAPS - 1) :].copy()

    @property
    def lufs(self) -> float | None:
        """Integrated loudness in LUFS; None where nothing is above the absolute gate.

        A sound shorter than one block of 400 ms is measured as one block of its own length: the standard does not define it.
        """
        hops = np.concatenate([*self._squares, np.zeros(0)])
        if len(hops) < _HOPS_PER_BLOCK:
            mean = (self._total + float(self._weights @ self._open)) / max(1, self._frames)
            return _power_to_lufs(mean) if mean > _lufs_to_power(ABSOLUTE_GATE_LUFS) else None
        sums = np.cumsum(np.concatenate([[0.0], hops]))
        blocks = (sums[_HOPS_PER_BLOCK:] - sums[:-_HOPS_PER_BLOCK]) / (_HOPS_PER_BLOCK * self._hop)
        loud = blocks[blocks > _lufs_to_power(ABSOLUTE_GATE_LUFS)]
        if not len(loud):
            return None
        gate = loud.mean() * 10 ** (RELATIVE_GATE_LU / 10)
        return _power_to_lufs(float(loud[loud > gate].mean()))

    @property
    def true_peak_dbtp(self) -> float | None:
        """The highest value between the frames in dBTP; None for digital silence."""
        end = np.concatenate([self._tail, np.zeros_like(self._tail)])
        peak = max(self._peak, _find_true_peak(end, self._peak))
        return to_decibels(peak) if peak > 0 else None


def _find_true_peak(frames: Frames, peak: float) -> float:
    """The highest interpolated or real value of [frames, channels] where it may exceed `peak`, else 0."""
    if len(frames) < _TAPS or max(frames.max(), -frames.min()) * _MOST_GAIN <= peak:
        return 0.0
    return float(_find_interpolated_peak(frames, _TAPS_BY_PHASE, np.float32(_MOST_GAIN), np.float32(peak), _LOOK))


def measure_integrated_lufs(sound: Sound) -> float | None:
    """Gated loudness of a whole sound in LUFS, or None below the gate. See `LoudnessMeter.lufs`."""
    meter = LoudnessMeter(sound.sample_rate_hz, sound.channels, true_peak=False)
    meter.add(sound.data.T)
    return meter.lufs


def measure_true_peak_dbtp(sound: Sound) -> float | None:
    """Highest value of the sound interpolated to four times its rate, in dBTP, or None for digital silence."""
    meter = LoudnessMeter(sound.sample_rate_hz, sound.channels)
    meter._add_peak(np.ascontiguousarray(sound.data.T))
    return meter.true_peak_dbtp


def _power_to_lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _lufs_to_power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _compute_k_weighting(rate: int) -> NDArray[np.float64]:
    """The two biquads as [2, 5] rows b0 b1 b2 a1 a2: head shelf, then high-pass."""
    k = math.tan(math.pi * min(1681.974450955533 / rate, 0.45))
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (high + middle * k / q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    k, q = math.tan(math.pi * min(38.13547087602444 / rate, 0.45)), 0.5003270373238773
    a0 = 1 + k / q + k * k
    return np.array([shelf, [1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]])


@compile_kernel
def _add_weighted_squares(frames, filter, state, weights, open_squares, filled, hop, hops):  # type: ignore[no-untyped-def]
    """Filters [frames, channels] and adds squares hop by hop; changes state and open_squares, fills hops [n]."""
    total = 0.0
    b0, b1, b2, a1, a2 = filter[0, 0], filter[0, 1], filter[0, 2], filter[0, 3], filter[0, 4]
    d1, d2 = filter[1, 3], filter[1, 4]
    for c in range(frames.shape[1]):
        s1, s2, t1, t2 = state[c, 0], state[c, 1], state[c, 2], state[c, 3]
        square, at, n = open_squares[c], filled, 0
        for i in range(frames.shape[0]):
            x = float(frames[i, c])
            y = b0 * x + s1
            s1 = (b1 * x + s2) - a1 * y
            s2 = b2 * x - a2 * y
            z = y + t1
            t1 = (t2 - 2.0 * y) - d1 * z
            t2 = y - d2 * z
            square += z * z
            at += 1
            if at == hop:
                hops[n] += weights[c] * square
                n += 1
                total += weights[c] * square
                square, at = 0.0, 0
        # A decaying state below 1e-30 is set to 0: denormal numbers make the processor slow.
        state[c, 0] = s1 if abs(s1) > 1e-30 else 0.0
        state[c, 1] = s2 if abs(s2) > 1e-30 else 0.0
        state[c, 2] = t1 if abs(t1) > 1e-30 else 0.0
        state[c, 3] = t2 if abs(t2) > 1e-30 else 0.0
        open_squares[c] = square
    return (filled + frames.shape[0]) % hop, total


@compile_kernel
def _find_interpolated_peak(frames, taps, most_gain, peak, look):  # type: ignore[no-untyped-def]
    """The highest value between [frames, channels] that exceeds `peak`, else 0; taps [12, phases], the oldest frame's first.

    Computes `look` frames at a time, and only where one is high enough: no interpolated value exceeds the highest frame
    near it by more than `most_gain`. The inner loop runs over frames, so that the compiler can vectorise it.
    """
    reach, phases = taps.shape
    near, between = np.empty(look + reach - 1, np.float32), np.empty(look, np.float32)
    highest = np.float32(0.0)
    for start in range(0, frames.shape[0] - reach + 1, look):
        count = min(look, frames.shape[0] - reach + 1 - start)
        for c in range(frames.shape[1]):
            top = np.float32(0.0)
            for i in range(count + reach - 1):
                near[i] = frames[start + i, c]
                top = max(top, abs(near[i]))
            if top * most_gain <= max(peak, highest):
                continue
            for i in range(count):
                highest = max(highest, abs(near[i + reach - 1]))
            for phase in range(phases):
                between[:count] = np.float32(0.0)
                for tap in range(reach):
                    weight = taps[tap, phase]
                    for i in range(count):
                        between[i] += weight * near[i + tap]
                for i in range(count):
                    highest = max(highest, abs(between[i]))
    return highest
