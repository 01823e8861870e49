"""Fingerprints find the same sound after gain, re-encoding or resampling, and show where two sounds overlap.

Source: J. Haitsma, T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002. Every 23 ms of mono sound at
5512.5 Hz becomes one 32-bit word: the signs of the change, over two frames, of the energy differences between 33 bands
from 200 to 2600 Hz. Ten kilobytes a minute. The word 0 stands for silence and matches nothing.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from audiotune.audio.numba_kernel import compile_kernel
from audiotune.audio.sound import Frames, Sound

FingerprintWords = NDArray[np.uint32]  # [words], one each HOP_S seconds
Name = TypeVar("Name")

RATE_HZ = 5512.5
_WINDOW, _HOP, _LAG = 2048, 128, 2
HOP_S = _HOP / RATE_HZ
_PAD = _WINDOW - _HOP  # silence added before and after, so that a click of 20 ms still gets some words
_EDGES = np.round(np.geomspace(200.0, 2600.0, 34) * _WINDOW / RATE_HZ).astype(np.int64)
_HANN = np.hanning(_WINDOW).astype(np.float32)
_SILENCE = 10 ** (-100 / 10)  # mean square of a frame below which it is silence
_BATCH = 64  # windows at a time: they stay in the cache
_OTHER_CHANNELS = 0.8  # less than 1, so that channels of opposite polarity do not cancel to nothing

# A pair of words that agree in all bits scores 11, in 21 of 32 bits 0, a random pair -5; a match is the best run.
# Tuned on 239 real synthesizer sounds: foreign pairs stay below 150, copies of a second and more are above 500.
_NEUTRAL_BITS = 11
_SURE = 200.0
_WHOLE_SHARE, _WHOLE_BER = 0.8, 0.2  # a short sound matches as a whole or not at all
_LOOKUPS = 500_000  # pairs of equal words that a lookup examines; a bound on memory
_NEAREST = 64  # sounds that a lookup compares


@dataclass(frozen=True, slots=True)
class Match:
    """A part of sound `a` that is also in sound `b`.

    Attributes:
        bit_error_rate: share of differing bits, 0 for identical sound; 0.5 would be chance.
        start_s, other_start_s: where the common part starts in a and in b, to about 25 ms.
        duration_s: of the common part.
        share: of the longer sound's non-silent words that are in the common part, in [0, 1].
    """

    bit_error_rate: float
    start_s: float
    other_start_s: float
    duration_s: float
    share: float

    @property
    def is_whole(self) -> bool:
        """Both sounds are the same from start to end, and not merely overlapping."""
        return self.share >= _WHOLE_SHARE


class Fingerprinter:
    """Computes the words of a sound block by block; memory grows only with the words."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._resampler = soxr.ResampleStream(sample_rate_hz, RATE_HZ, 1, dtype="float32", quality="MQ")
        self._rest = np.zeros(_PAD, np.float32)
        self._bands = np.zeros((0, len(_EDGES) - 2), np.float32)  # differences of the last _LAG frames
        self._windowed = np.empty((_BATCH, _WINDOW), np.float32)
        self._words: list[FingerprintWords] = []

    def add(self, frames: Frames) -> None:
        """Takes the next block, float32 [frames, channels]."""
        if len(frames):
            self._add_audio(self._resampler.resample_chunk(_mix_to_mono(frames)))

    def finish(self) -> FingerprintWords:
        """The words; call it once, after the last block."""
        last = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._add_audio(np.concatenate([last, np.zeros(_PAD + _LAG * _HOP, np.float32)]))
        return np.concatenate([np.zeros(0, np.uint32), *self._words])

    def _add_audio(self, sound: Frames) -> None:
        self._rest = np.concatenate([self._rest, sound])
        count = (len(self._rest) - _WINDOW) // _HOP + 1
        if count < 1:
            return
        view = np.lib.stride_tricks.sliding_window_view(self._rest, _WINDOW)[::_HOP]
        power = _measure_window_power(self._rest, count)
        for start in range(0, count, _BATCH):
            end = min(start + _BATCH, count)
            self._words.append(self._hash_windows(view[start:end], power[start:end]))
        self._rest = self._rest[count * _HOP :].copy()

    def _hash_windows(self, windows: Frames, power: Frames) -> FingerprintWords:
        from scipy.fft import rfft  # stays in float32

        np.multiply(windows, _HANN, out=self._windowed[: len(windows)])
        spectrum = np.asarray(rfft(self._windowed[: len(windows)], axis=1))[:, _EDGES[0] : _EDGES[-1]].copy()
        parts = spectrum.view(np.float32)  # real and imaginary parts side by side: their squares are summed together
        np.square(parts, out=parts)
        bands = np.add.reduceat(parts, 2 * (_EDGES[:-1] - _EDGES[0]), axis=1)
        steps = np.concatenate([self._bands, bands[:, :-1] - bands[:, 1:]])
        self._bands = steps[-_LAG:]
        bits = steps[_LAG:] > steps[:-_LAG]
        words = np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
        words[words == 0] = 1  # 0 is kept for silence
        loud = power[len(power) - len(words) :] > _SILENCE
        return np.where(loud, words, np.uint32(0)).astype(np.uint32)


def _measure_window_power(sound: Frames, count: int) -> Frames:
    """Mean square of each of `count` windows, summed from hops that windows share."""
    hops = sound[: (len(sound) // _HOP) * _HOP].reshape(-1, _HOP)
    squares = np.einsum("ij,ij->i", hops, hops)
    per_window = np.lib.stride_tricks.sliding_window_view(squares, _WINDOW // _HOP).sum(axis=1)
    return np.asarray(per_window[:count] / _WINDOW, dtype=np.float32)


def fingerprint_sound(sound: Sound) -> FingerprintWords:
    """The words of a whole sound, uint32 [words]: about 43 a second."""
    maker = Fingerprinter(sound.sample_rate_hz)
    for start in range(0, sound.frames, 1 << 16):
        maker.add(sound.data[:, start : start + (1 << 16)].T)
    return maker.finish()


class FingerprintIndex(Generic[Name]):
    """Many fingerprints, in which those that share words with a new one are found.

    Sounds of a second and more match in any part of about a second; shorter ones only as wholes.
    """

    def __init__(self) -> None:
        self._names: list[Name] = []
        self._prints: list[FingerprintWords] = []
        self._sorted: tuple[FingerprintWords, NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: Name, words: FingerprintWords) -> None:
        self._names.append(name)
        self._prints.append(words)
        self._sorted = None

    def find(self, words: FingerprintWords) -> list[tuple[Name, Match]]:
        """The sounds that match these words in whole or in part, the longest match first; a sound also finds itself."""
        found = []
        short = int(np.count_nonzero(words)) * _NEUTRAL_BITS < 2 * _SURE
        shifts = self._list_all_shifts(words) if short else self.find_shifts(words)
        for at, candidates in shifts.items():
            match = _find_best_match(words, self._prints[at], candidates)
            if match:
                found.append((self._names[at], match))
        return sorted(found, key=lambda pair: -pair[1].duration_s)

    def find_shifts(self, words: FingerprintWords) -> dict[int, NDArray[np.int64]]:
        """Sound -> the alignments (place in `words` minus place in the sound) under which most words are equal.

        Looks up whole words: even a bad MP3 leaves one word in ten unchanged.
        """
        if not self._prints:
            return {}
        table, owners, places = self._sort_words()
        at = np.flatnonzero(words)
        low, high = np.searchsorted(table, words[at]), np.searchsorted(table, words[at], side="right")
        # Rare words first: words that repeat through a hum or a drone say little and would fill the memory.
        rare = np.argsort(high - low, kind="stable")
        rare = rare[np.cumsum((high - low)[rare]) <= _LOOKUPS]
        at, low, counts = at[rare], low[rare], (high - low)[rare]
        rows = np.repeat(low, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pairs, hits = np.unique((owners[rows] << 32) + (np.repeat(at, counts) - places[rows]) + (1 << 31), return_counts=True)
        return self._keep_frequent_shifts(np.stack([pairs >> 32, (pairs & 0xFFFFFFFF) - (1 << 31)]), hits)

    def _keep_frequent_shifts(self, pairs: NDArray[np.int64], hits: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """The eight most frequent alignments of each of the sounds with the most equal words."""
        kept: dict[int, list[int]] = {}
        for i in np.argsort(-hits, kind="stable")[:20_000]:
            shifts = kept.setdefault(int(pairs[0, i]), [])
            if len(shifts) < 8 and len(kept) <= _NEAREST:
                shifts.append(int(pairs[1, i]))
        return {sound: np.array(shifts, np.int64) for sound, shifts in kept.items() if shifts}

    def _list_all_shifts(self, words: FingerprintWords) -> dict[int, NDArray[np.int64]]:
        """All alignments with short sounds: a short sound has too few words to look up, and matches only short ones."""
        most = 2 * len(words)
        return {i: np.arange(-len(other) + 1, len(words)) for i, other in enumerate(self._prints) if len(other) <= most}

    def _sort_words(self) -> tuple[FingerprintWords, NDArray[np.int64], NDArray[np.int64]]:
        if self._sorted is None:
            words = np.concatenate(self._prints)
            owners = np.repeat(np.arange(len(self._prints)), [len(p) for p in self._prints])
            places = np.concatenate([np.arange(len(p)) for p in self._prints])
            order = np.argsort(words, kind="stable")
            self._sorted = (words[order], owners[order], places[order])
        return self._sorted


def _mix_to_mono(frames: Frames) -> Frames:
    """First channel plus a little less of each other, [frames]."""
    if frames.ndim == 1 or frames.shape[1] == 1:
        return np.ascontiguousarray(frames.reshape(-1), dtype=np.float32)
    weights: Frames = np.full(frames.shape[1], _OTHER_CHANNELS, np.float32)
    weights[0] = 1.0
    return np.asarray(frames @ (weights / weights.sum()), dtype=np.float32)


def _find_best_match(a: FingerprintWords, b: FingerprintWords, shifts: NDArray[np.int64]) -> Match | None:
    score, i, j, length, compared, errors = _find_best_run(a, b, shifts, _NEUTRAL_BITS)
    if compared == 0:
        return None
    rate = errors / (32 * compared)
    share = compared / max(np.count_nonzero(a), np.count_nonzero(b))
    if score < _SURE and not (share >= _WHOLE_SHARE and rate <= _WHOLE_BER):
        return None
    start, other, words = _trim_padding(i, j, length, len(a), len(b))
    return Match(float(rate), start * HOP_S, other * HOP_S, words * HOP_S, float(share))


_LEAD = (_PAD - _WINDOW // 2) // _HOP - _LAG // 2  # words of the silence that is added before the sound
_TRAIL = 2 * (_PAD // _HOP) + _LAG - _WINDOW // _HOP + 1 - _LAG - _LEAD  # and after it


def _trim_padding(i: int, j: int, length: int, a_words: int, b_words: int) -> tuple[int, int, int]:
    """Where a run starts in both sounds and how long it is, in hops, without the words that come from the added silence.

    Both starts move by the same step, which keeps the alignment of the two sounds.
    """
    step = max(0, _LEAD - i, _LEAD - j)
    start, other = i + step - _LEAD, j + step - _LEAD
    longest = min(a_words - _LEAD - _TRAIL - start, b_words - _LEAD - _TRAIL - other)
    return start, other, max(1, min(length - step, longest))


@compile_kernel
def _find_best_run(a, b, shifts, neutral):  # type: ignore[no-untyped-def]
    """Best-scoring run over all alignments: (score, start in a, start in b, length, words compared, bits that differ)."""
    best, best_i, best_j, best_n, best_compared, best_errors = 0, 0, 0, 0, 0, 0
    for s in range(len(shifts)):
        i, j = max(0, shifts[s]), max(0, -shifts[s])
        score, start, compared, errors = 0, 0, 0, 0
        for k in range(min(len(a) - i, len(b) - j)):
            x, y = a[i + k], b[j + k]
            if x == 0 or y == 0:
                score -= 1  # a common silence does not break a run at once
            else:
                v = np.uint32(x ^ y)
                v = v - ((v >> np.uint32(1)) & np.uint32(0x55555555))
                v = (v & np.uint32(0x33333333)) + ((v >> np.uint32(2)) & np.uint32(0x33333333))
                v = (v + (v >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
                bits = (v & np.uint32(0xFF)) + ((v >> np.uint32(8)) & np.uint32(0xFF))
                bits += ((v >> np.uint32(16)) & np.uint32(0xFF)) + (v >> np.uint32(24))
                score += neutral - int(bits)
                errors += int(bits)
                compared += 1
            if score <= 0:
                score, start, compared, errors = 0, k + 1, 0, 0
            elif score > best:
                best, best_i, best_j, best_n = score, i + start, j + start, k + 1 - start
                best_compared, best_errors = compared, errors
    return best, best_i, best_j, best_n, best_compared, best_errors
