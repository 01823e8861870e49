"""Cutting: from levels to the bounds of sounds. Decides with the whole take in view; touches no file.

A sound begins where a band rises clearly over the noise and ends where all have sunk into it (hysteresis). Faint beginnings
and decays are followed down as far as a narrow band can hear them. Pieces that belong together are joined, long ones cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from components.segment.floor import Levels, decibel, lit, noise_floor
from components.segment.hear import Heard
from components.segment.settings import Settings

_SMOOTH_HOPS = (10, 4, 4, 4)  # by band: the lowest one has few cycles in 20 ms
_EXTRA_DB = np.array([3, 0, 0, 0], np.float32)  # and moves more by itself
_LEAD_S = 3.0  # how far a faint beginning is followed
_BESIDE_S = 0.5  # a quiet scrap this near to a sound belongs to it
_SCRAP_S = 0.3
_SCRAP_DB = 8.0
_MURMUR_DB = 15.0  # over the noise floor: what stays below this is no event of its own beside a louder one


@dataclass(frozen=True)
class Cut:
    """A part of a recording.

    Attributes:
        start_frame, end_frame: half-open, frames of the recording.
        continued: it goes on from the cut before, without a silence between.
    """

    start_frame: int
    end_frame: int
    continued: bool = False


@dataclass
class _Piece:
    """In hops: `first` to `last` is clearly sound; `lead` and `tail` are how far it is heard at all."""

    lead: int
    first: int
    last: int
    tail: int


def find_cuts(heard: Heard, settings: Settings) -> list[Cut]:
    """The cuts of a recording, in order, without overlap."""
    if not len(heard.power):
        return []
    floor = noise_floor(heard, settings)
    excess = _excess(heard, floor)
    pieces = _followed(_sounding(excess, settings), excess, heard, settings)
    pieces = _joined(pieces, heard, floor, settings)
    pieces = [piece for piece in pieces if _counts(piece, heard, settings)]
    _align(pieces, heard, floor, settings)
    return _bounded(pieces, heard, settings)


def _excess(heard: Heard, floor: Levels) -> Levels:
    """How far the most prominent band stands over the noise, in dB: float32 [hops]."""
    most = np.full(len(floor), -120, np.float32)
    for b, hops in enumerate(_SMOOTH_HOPS):
        np.maximum(most, decibel(uniform_filter1d(heard.power[:, b], hops)) - floor[:, b] - _EXTRA_DB[b], out=most)
    return most


def _sounding(excess: Levels, settings: Settings) -> list[tuple[int, int]]:
    """Runs above the release threshold that reach the onset threshold."""
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], (excess > settings.release_db).astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in bounds.reshape(-1, 2) if excess[a:b].max() > settings.onset_db]


def _followed(runs: list[tuple[int, int]], excess: Levels, heard: Heard, settings: Settings) -> list[_Piece]:
    """Follows beginnings and decays as long as a narrow band is lit, never past a neighbour."""
    playing = np.zeros(len(excess), np.bool_)
    for a, b in runs:
        playing[max(0, a - 60) : b + 60] = True
    looks = lit(heard, ~playing, settings)
    ratio = heard.look_frames / heard.hop_frames
    farthest = round(_LEAD_S / heard.hop_s)
    pieces = []
    for i, (a, b) in enumerate(runs):
        low = max(runs[i - 1][1] if i else 0, a - farthest)
        high = runs[i + 1][0] if i + 1 < len(runs) else len(excess)
        first = last = None
        look = int(a / ratio)
        while look > 0 and looks[look - 1]:
            look -= 1
            first = look
        look = int((b - 1) / ratio)
        while look + 1 < len(looks) and looks[look + 1]:
            look += 1
            last = look
        lead = a if first is None else min(a, max(low, round((first + 0.6) * ratio)))
        tail = b if last is None else max(b, min(high, round((last + 0.7) * ratio)))
        pieces.append(_Piece(lead, a, b, tail))
    return pieces


def _joined(pieces: list[_Piece], heard: Heard, floor: Levels, settings: Settings) -> list[_Piece]:
    """Joins what short silences part: always below `gap_s`, scraps beside a sound, and the same sound again."""
    out: list[_Piece] = []
    for piece in pieces:
        if out and _belongs(out[-1], piece, heard, floor, settings):
            out[-1].last, out[-1].tail = piece.last, piece.tail
            continue
        if out and piece.lead <= out[-1].tail:  # a decay runs into a faint beginning: the clear onset decides
            piece.lead = piece.first
            out[-1].tail = min(out[-1].tail, piece.first)
        out.append(piece)
    return out


def _belongs(before: _Piece, after: _Piece, heard: Heard, floor: Levels, settings: Settings) -> bool:
    gap_s = (after.first - before.last) * heard.hop_s
    if gap_s < settings.gap_s:
        return True
    if gap_s < _BESIDE_S and (_is_scrap(before, after, heard, floor) or _is_scrap(after, before, heard, floor)):
        return True
    return gap_s < settings.phrase_gap_s and _same_sound(before, after, heard, settings)


def _is_scrap(piece: _Piece, beside: _Piece, heard: Heard, floor: Levels) -> bool:
    """Short and clearly quieter than what it stands beside, or hardly over the noise."""
    own, other = _peak_db(piece, heard), _peak_db(beside, heard)
    if own > other - _SCRAP_DB:
        return False
    level = decibel(uniform_filter1d(heard.power[piece.first : piece.last], 10, axis=0)) - floor[piece.first : piece.last]
    return (piece.last - piece.first) * heard.hop_s < _SCRAP_S or float(level.max()) < _MURMUR_DB


def _peak_db(piece: _Piece, heard: Heard) -> float:
    return float(decibel(uniform_filter1d(heard.power[piece.first : piece.last].sum(axis=1), 4).max()))


def _same_sound(before: _Piece, after: _Piece, heard: Heard, settings: Settings) -> bool:
    """The half seconds before and after the silence have the same spectrum, in the bands that carry them."""
    ratio = heard.hop_frames / heard.look_frames
    reach = round(0.5 / heard.hop_s)
    a = _mean_spectrum(heard, max(before.first, before.last - reach) * ratio, before.last * ratio)
    b = _mean_spectrum(heard, after.first * ratio, min(after.last, after.first + reach) * ratio)
    carries = np.maximum(a, b) > max(a.max(), b.max()) - 15
    return bool(np.abs(a - b)[carries].mean() < settings.likeness_db)


def _mean_spectrum(heard: Heard, start: float, end: float) -> Levels:
    first = min(int(start), len(heard.spectrum) - 1)
    return decibel(heard.spectrum[first : max(first + 1, int(np.ceil(end)))].mean(axis=0))


def _counts(piece: _Piece, heard: Heard, settings: Settings) -> bool:
    """Long enough to be no click, loud enough to be meant."""
    if (piece.last - piece.first) * heard.hop_s < settings.min_sound_s:
        return False
    return bool(20 * np.log10(heard.peak[piece.first : piece.last].max() + 1e-9) > settings.quietest_dbfs)


def _align(pieces: list[_Piece], heard: Heard, floor: Levels, settings: Settings) -> None:
    """Moves each beginning to its very hop: smoothing blurs an attack by 10 to 20 ms."""
    for piece in pieces:
        start, end = max(0, piece.first - 6), piece.first + 8
        sharp = (decibel(heard.power[start:end]) - floor[start:end] - 3 * _EXTRA_DB).max(axis=1) > settings.release_db + 1
        if sharp.any():
            piece.first = start + int(np.argmax(sharp))
        if piece.first - piece.lead < 0.1 / heard.hop_s:  # narrow bands see no nearer than a look
            piece.lead = piece.first


def _bounded(pieces: list[_Piece], heard: Heard, settings: Settings) -> list[Cut]:
    """Applies pre-roll, `min_s` and `max_s`, and goes over to frames."""
    cuts: list[Cut] = []
    pre_roll, shortest = round(settings.pre_roll_s * heard.sample_rate_hz), round(settings.min_s * heard.sample_rate_hz)
    for i, piece in enumerate(pieces):
        start = max(cuts[-1].end_frame if cuts else 0, piece.lead * heard.hop_frames - pre_roll)
        limit = pieces[i + 1].lead * heard.hop_frames - pre_roll if i + 1 < len(pieces) else heard.frames
        end = min(limit, heard.frames, max(start + shortest, (piece.tail + 4) * heard.hop_frames))
        if end - start >= shortest:
            cuts += _cut_long(start, end, heard, settings)
    return cuts


def _cut_long(start: int, end: int, heard: Heard, settings: Settings) -> list[Cut]:
    """Cuts a long take where least happens: lowest novelty and level, in the second half of what is allowed."""
    longest, shortest = settings.max_s * heard.sample_rate_hz, settings.min_s * heard.sample_rate_hz
    cuts, begin = [], start
    while end - begin > longest:
        low = begin + max(shortest, longest / 2)
        high = min(begin + longest, end - shortest)
        at = _calmest(int(low / heard.hop_frames), int(high / heard.hop_frames), heard) * heard.hop_frames
        cuts.append(Cut(begin, at, begin > start))
        begin = at
    return [*cuts, Cut(begin, end, begin > start)]


def _calmest(start: int, end: int, heard: Heard) -> int:
    """The hop in [start, end) where the next 50 ms differ least from the last, and little sounds."""
    level = decibel(uniform_filter1d(heard.power[max(0, start - 20) : end + 20], 10, axis=0))
    novelty = np.maximum(level[10:] - level[:-10], 0).sum(axis=1)
    calm = uniform_filter1d(novelty, 10) + level[5:-5].max(axis=1) - level.max()
    inside = calm[max(0, start - max(0, start - 20) - 5) :][: max(1, end - start)]
    return start + int(np.argmin(inside))
