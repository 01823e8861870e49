"""Finds the bounds of segments from the features of a whole recording.

A sound begins where a band rises clearly above the noise and ends where all bands have fallen back to it (hysteresis). It includes
faint beginnings and decays as far as a narrow band shows them. Neighbouring pieces are joined, long ones are cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from components.segment.features import RecordingFeatures
from components.segment.narrow_bands import NarrowBandDetector
from components.segment.new_sounds import find_attack, find_new_sounds
from components.segment.noise_floor import Levels, NoiseFloor, estimate_noise_floor, power_to_db
from components.segment.settings import Settings
from components.segment.spectra import measure_mean_spectrum, measure_spectral_distance_db

_SMOOTH_HOPS = (10, 4, 4, 4)  # by band: the lowest one has few cycles in 20 ms
_EXTRA_DB = np.array([3, 0, 0, 0], np.float32)  # and its noise varies more
_TRAIL_HOPS = 20
_BATCH_HOPS = 1 << 16
_SWELL_DB = 1.5  # level over the noise that 100 ms of steady noise hardly ever reach
_LEAD_S = 3.0  # longest faint beginning
SHORTEST_PART_S = 0.2  # nothing shorter is cut off where a new sound begins
_LATE = 0.85  # of an audible window: the exact start in it is unknown, and no segment may start 20 ms early
# A beginning may be inaudible for the first number of windows if it was audible for the second number before.
_BRIDGED_WINDOWS, _FEWEST_WINDOWS = 3, 5
_LEAST_LEAD_HOPS = 20  # what is heard for less than 100 ms before a sound may be a click, or noise
_SEEN_S = 0.45  # narrow bands show only longer silences
_REACHES_S = (0.12, 0.2, 0.3, 0.5, 0.75, 1.0)  # lengths of silences to bridge, in this order
_BEFORE_S, _BEHIND_S = 0.45, 0.75  # a short quiet part at most this far before or after a sound belongs to it
_CLICK_HOPS, _CLICK_SHARE = 10, 0.65  # a sound is above the noise in more than this share of some 50 ms
_REMAINS_HOPS, _REMAINS_S = 30, 0.5  # for 150 ms a piece this near the one before may be its remains
_LONGEST_CLICKS_S = 1.0
_SKIPPED_HOPS = 60  # clicks this long before a sound do not belong to it
_FRAGMENT_S = 0.15
_FRAGMENT_DB = 12.0
_REGULAR_SHARE, _SAME_LENGTH_SHARE, _SAME_LEVEL_DB = 0.04, 0.2, 3.0  # of intervals and lengths of a sequencer's notes
_LONGEST_STEP_S = 1.2  # of a sequencer; what follows more slowly, as in a sampler's chromatic recording, are sounds of their own
_EVENT_DB = 12.0  # an onset this much louder than a decay begins a new event
_NEAR_NOISE_DB = 10.0  # over the noise floor; a quieter part beside a louder one is no separate event


@dataclass(frozen=True)
class SegmentBounds:
    """A part of a recording.

    Attributes:
        start_frame, end_frame: half-open, frames of the recording.
        continued: it follows the cut before without a silence.
    """

    start_frame: int
    end_frame: int
    continued: bool = False


@dataclass
class SoundSpan:
    """In hops: `first` to `last` is clearly sound; it is audible from `lead` to `tail`.

    `peak_db`: its highest level. `beats`: where notes at regular intervals begin.
    """

    lead: int
    first: int
    last: int
    tail: int
    peak_db: float
    beats: tuple[int, ...] = ()


def find_segment_bounds(heard: RecordingFeatures, settings: Settings) -> list[SegmentBounds]:
    """The cuts of a recording, in order, without overlap."""
    if not len(heard.power):
        return []
    floor = estimate_noise_floor(heard, settings)
    pieces = find_sounds(heard, floor, settings)
    pieces = [part for piece in pieces for part in _split_at_new_sounds(piece, heard, floor, settings)]
    return _apply_length_limits(pieces, heard, settings)


def keep_whole(heard: RecordingFeatures, settings: Settings) -> list[SegmentBounds]:
    """The whole recording as one segment, or as several where it is longer than `max_s`; none of one without a frame."""
    return split_long_span(0, heard.frames, heard, settings) if heard.frames else []


def find_sounds(heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> list[SoundSpan]:
    """The sounds between silences, in order; each may hold several that overlap."""
    runs, clicks = _separate_clicks(_find_sounding_runs(heard, floor, settings), heard, floor, settings)
    faint = NarrowBandDetector(heard, runs, clicks)
    pieces = _extend_spans(runs, floor, heard, faint)
    pieces = _join_spans(pieces, heard, floor, faint, settings)
    pieces = [piece for piece in pieces if _is_long_and_loud(piece, heard, floor, settings)]
    _extend_over_gaps(pieces, heard, faint)
    _align_onsets(pieces, heard, floor, settings)
    return pieces


def _measure_excess(
    heard: RecordingFeatures, floor: NoiseFloor, smooth_hops: Sequence[int], origins: Sequence[int]
) -> Iterator[tuple[slice, Levels]]:
    """Level over the noise of the most prominent band after smoothing, in dB. In batches to bound the memory."""
    for first in range(0, floor.hops, _BATCH_HOPS):
        last = min(first + _BATCH_HOPS, floor.hops)
        low, high = max(0, first - _TRAIL_HOPS), min(floor.hops, last + _TRAIL_HOPS)
        most = np.full(last - first, -120, np.float32)
        noise, power = floor.levels_at(first, last) + _EXTRA_DB, heard.power[low:high]
        for b, (hops, origin) in enumerate(zip(smooth_hops, origins, strict=True)):
            level = power_to_db(uniform_filter1d(power[:, b], hops, origin=origin)[first - low : last - low])
            np.maximum(most, level - noise[:, b], out=most)
        yield slice(first, last), most


def _find_sounding_runs(heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> list[tuple[int, int]]:
    """Runs above the release threshold that reach the onset threshold."""
    above, reached = np.zeros(floor.hops + 2, np.bool_), np.zeros(floor.hops, np.bool_)
    for part, excess in _measure_excess(heard, floor, _SMOOTH_HOPS, (0,) * len(_SMOOTH_HOPS)):
        above[1:-1][part], reached[part] = excess > settings.release_db, excess > settings.onset_db
    bounds = np.flatnonzero(above[1:] != above[:-1])
    return [(int(a), int(b)) for a, b in bounds.reshape(-1, 2) if reached[a:b].any()]


def _separate_clicks(
    runs: list[tuple[int, int]], heard: RecordingFeatures, floor: NoiseFloor, settings: Settings
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Sounds, and clicks: runs whose level is not held above the release threshold for `_CLICK_HOPS`, wherever they are loudest."""
    sounds: list[tuple[int, int]] = []
    clicks: list[tuple[int, int]] = []
    for first, last in runs:
        (sounds if _is_held(first, last, heard, floor, settings) else clicks).append((first, last))
    return sounds, clicks


def _is_held(first: int, last: int, heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> bool:
    if (last - first) * heard.hop_s > _LONGEST_CLICKS_S:
        return True
    level = power_to_db(heard.power[first:last]) - floor.levels_at(first, last) - _EXTRA_DB
    held = uniform_filter1d((level > settings.release_db).astype(np.float32), _CLICK_HOPS, axis=0, mode="constant")
    return bool(held.max() > _CLICK_SHARE)


def _extend_spans(
    runs: list[tuple[int, int]], floor: NoiseFloor, heard: RecordingFeatures, faint: NarrowBandDetector
) -> list[SoundSpan]:
    """Extends beginnings and decays as long as a narrow band is audible, never past a neighbour."""
    bands, swell = heard.power.shape[1], np.zeros(floor.hops, np.bool_)
    # Over the 100 ms before each hop, which shows a swell and excludes a later attack.
    for part, excess in _measure_excess(heard, floor, (_TRAIL_HOPS,) * bands, (_TRAIL_HOPS // 2 - 1,) * bands):
        swell[part] = excess > _SWELL_DB
    ratio = heard.window_frames / heard.hop_frames
    farthest = round(_LEAD_S / heard.hop_s)
    pieces = []
    for i, (a, b) in enumerate(runs):
        low = max(runs[i - 1][1] if i else 0, a - farthest)
        high = runs[i + 1][0] if i + 1 < len(runs) else floor.hops
        first, last = _follow_audible(int(a / ratio), -1, faint), _follow_audible(int((b - 1) / ratio), 1, faint)
        lead = a if first is None else min(a, max(low, round((first + _LATE) * ratio)))
        while lead > low and swell[lead - 1]:
            lead -= 1
        lead = lead if a - lead >= _LEAST_LEAD_HOPS else a
        tail = b if last is None else max(b, min(high, round((last + 0.7) * ratio)))
        pieces.append(SoundSpan(lead, a, b, tail, _measure_peak_db(a, b, heard)))
    return pieces


def _follow_audible(window: int, step: int, faint: NarrowBandDetector) -> int | None:
    """The last of the audible windows next to this one, backwards (step -1) or forwards (1); None if there are none."""
    last = None
    while 0 <= window + step < len(faint.audible) and faint.audible[window + step]:
        window += step
        last = window
    return last


def _extend_over_gaps(pieces: list[SoundSpan], heard: RecordingFeatures, faint: NarrowBandDetector) -> None:
    """Moves beginnings to earlier audible windows: a faint tone may be inaudible for a moment before the clear onset."""
    ratio, farthest = heard.window_frames / heard.hop_frames, round(_LEAD_S / heard.hop_s)
    before = 0
    for piece in pieces:
        low, window = max(before + round(_BRIDGED_WINDOWS * ratio), piece.first - farthest), int(piece.lead / ratio)
        while near := [k for k in range(window - 1, window - _BRIDGED_WINDOWS - 2, -1) if k >= 0 and faint.audible[k]][:1]:
            first = _follow_audible(near[0], -1, faint)
            window = near[0] if first is None else first
            if near[0] - window + 1 < _FEWEST_WINDOWS or window * ratio < low:  # too few, or the decay of the sound before
                break
            piece.lead = min(piece.lead, round((window + _LATE) * ratio))
        before = piece.tail


def _join_spans(
    pieces: list[SoundSpan], heard: RecordingFeatures, floor: NoiseFloor, faint: NarrowBandDetector, settings: Settings
) -> list[SoundSpan]:
    """Joins neighbouring pieces, the shortest silences first, so that a fragment joins its nearer neighbour."""
    for reach_s in (settings.gap_s, *_REACHES_S, settings.phrase_gap_s, np.inf):
        out: list[SoundSpan] = []
        for piece in pieces:
            gap_s = (piece.first - out[-1].last) * heard.hop_s if out else np.inf
            if gap_s < reach_s and _belong_together(out[-1], piece, gap_s, heard, floor, faint, settings):
                out[-1] = _join_two(out[-1], piece)
            else:
                out.append(piece)
        pieces = out if reach_s > settings.gap_s else _join_regular_spans(out, heard, settings)
    for before, after in pairwise(pieces):
        if after.lead <= before.tail:  # a decay overlaps a faint beginning: the clear onset is the border
            before.tail, after.lead = min(before.tail, after.first), after.first
    return pieces


def _join_two(before: SoundSpan, after: SoundSpan) -> SoundSpan:
    return replace(
        before,
        last=after.last,
        tail=after.tail,
        peak_db=max(before.peak_db, after.peak_db),
        beats=before.beats + after.beats,
    )


def _join_regular_spans(pieces: list[SoundSpan], heard: RecordingFeatures, settings: Settings) -> list[SoundSpan]:
    """Joins three or more pieces of the same length and level at the same intervals: notes of a sequencer, whatever their pitch."""
    out = pieces[:1]
    for i in range(1, len(pieces)):
        before, piece = pieces[i - 1], pieces[i]
        beats = [pieces[k : k + 3] for k in (i - 2, i - 1) if k >= 0 and k + 3 <= len(pieces)]
        pause_s = (piece.first - before.last) * heard.hop_s
        is_step = (piece.first - before.first) * heard.hop_s <= _LONGEST_STEP_S
        if is_step and pause_s < settings.phrase_gap_s and any(_is_regular(*three) for three in beats):
            out[-1] = _join_two(out[-1], replace(piece, beats=(piece.first,)))
        else:
            out.append(piece)
    return out


def _is_regular(a: SoundSpan, b: SoundSpan, c: SoundSpan) -> bool:
    lengths, peaks = [piece.last - piece.first for piece in (a, b, c)], [piece.peak_db for piece in (a, b, c)]
    intervals = b.first - a.first, c.first - b.first
    return (
        abs(intervals[0] - intervals[1]) <= _REGULAR_SHARE * min(intervals)
        and max(lengths) - min(lengths) <= _SAME_LENGTH_SHARE * min(lengths)
        and max(peaks) - min(peaks) <= _SAME_LEVEL_DB
    )


def _belong_together(
    before: SoundSpan,
    after: SoundSpan,
    gap_s: float,
    heard: RecordingFeatures,
    floor: NoiseFloor,
    faint: NarrowBandDetector,
    settings: Settings,
) -> bool:
    return (
        gap_s < settings.gap_s
        or (gap_s < _BEFORE_S and _is_fragment(before, after, heard, floor))
        or (gap_s < _BEHIND_S and _is_fragment(after, before, heard, floor))
        or _is_continuous(before, after, gap_s, heard, faint, settings)
        or (gap_s < settings.phrase_gap_s and _has_same_spectrum(before, after, heard, settings))
    )


def _is_continuous(
    before: SoundSpan, after: SoundSpan, gap_s: float, heard: RecordingFeatures, faint: NarrowBandDetector, settings: Settings
) -> bool:
    """Whether a decay, or a tone in a longer gap, lasts until the next onset, which is no clearly louder event."""
    if after.peak_db >= before.peak_db + _EVENT_DB:
        return False
    if gap_s > _SEEN_S and after.lead <= before.tail:
        return True
    ratio = heard.hop_frames / heard.window_frames
    return gap_s >= settings.phrase_gap_s and faint.has_steady_tone(int(before.last * ratio) + 1, int(after.first * ratio))


def _is_fragment(piece: SoundSpan, beside: SoundSpan, heard: RecordingFeatures, floor: NoiseFloor) -> bool:
    """Whether a piece is clearly quieter than its neighbour, and short or near the noise."""
    if piece.peak_db > beside.peak_db - _FRAGMENT_DB:
        return False
    return (piece.last - piece.first) * heard.hop_s < _FRAGMENT_S or _is_near_noise(piece, heard, floor)


def _is_near_noise(piece: SoundSpan, heard: RecordingFeatures, floor: NoiseFloor) -> bool:
    level = power_to_db(uniform_filter1d(heard.power[piece.first : piece.last], 10, axis=0))
    return float((level - floor.levels_at(piece.first, piece.last)).max()) < _NEAR_NOISE_DB


def _measure_peak_db(first: int, last: int, heard: RecordingFeatures) -> float:
    return float(power_to_db(uniform_filter1d(heard.power[first:last].sum(axis=1), 4).max()))


def _has_same_spectrum(before: SoundSpan, after: SoundSpan, heard: RecordingFeatures, settings: Settings) -> bool:
    """Whether the beginning of a piece has the spectrum of the other's end or beginning, in their prominent bands."""
    reach = round(0.5 / heard.hop_s)
    first = measure_mean_spectrum(after.first, min(after.last, after.first + reach), heard)
    ends = (max(before.first, before.last - reach), before.last), (before.first, min(before.last, before.first + reach))
    return any(measure_spectral_distance_db(measure_mean_spectrum(a, b, heard), first) < settings.likeness_db for a, b in ends)


def _is_long_and_loud(piece: SoundSpan, heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> bool:
    """Whether a piece is no click and loud enough."""
    if (piece.last - piece.first) * heard.hop_s < settings.min_sound_s or _is_near_noise(piece, heard, floor):
        return False
    return bool(20 * np.log10(heard.peak[piece.first : piece.last].max() + 1e-9) > settings.quietest_dbfs)


def _align_onsets(pieces: list[SoundSpan], heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> None:
    """Moves each beginning to its exact hop: smoothing blurs an attack by 10 to 20 ms."""
    before = -len(heard.power)
    for piece in pieces:
        start, end = max(0, piece.first - 6), min(piece.last, piece.first + _SKIPPED_HOPS + _CLICK_HOPS)
        level = power_to_db(heard.power[start:end]) - floor.levels_at(start, end) - 3 * _EXTRA_DB
        sharp = level > settings.release_db + 1
        held = (
            uniform_filter1d(sharp.astype(np.float32), _CLICK_HOPS, axis=0, origin=-(_CLICK_HOPS // 2), mode="nearest")
            > _CLICK_SHARE
        )
        faint_before = piece.lead < piece.first
        begins = (sharp & held).any(axis=1)
        if begins.any():
            piece.first = start + int(np.argmax(begins))
        elif sharp.any():
            piece.first = start + int(np.argmax(sharp.any(axis=1)))
        attack = find_attack(piece.first, min(piece.last, piece.first + _REMAINS_HOPS), heard, floor)
        if (piece.first - before) * heard.hop_s < _REMAINS_S and attack.rise_db > _EVENT_DB:
            piece.first, faint_before = attack.hop, False  # what sounds before the attack remains of the piece before
        piece.lead = min(piece.lead, piece.first) if faint_before else piece.first
        before = piece.tail


def _split_at_new_sounds(piece: SoundSpan, heard: RecordingFeatures, floor: NoiseFloor, settings: Settings) -> list[SoundSpan]:
    shortest = round(max(settings.min_s, SHORTEST_PART_S) / heard.hop_s)
    if settings.new_sound_probability >= 1 or piece.last - piece.first < 2 * shortest:
        return [piece]
    begins = find_new_sounds((piece.first, piece.last), piece.beats, heard, floor, shortest, settings)
    bounds = list(pairwise([piece.first, *begins, piece.last]))
    parts = [SoundSpan(first, first, last, last, piece.peak_db) for first, last in bounds]
    parts[0].lead, parts[-1].tail = piece.lead, piece.tail
    return parts


def _apply_length_limits(pieces: list[SoundSpan], heard: RecordingFeatures, settings: Settings) -> list[SegmentBounds]:
    """Applies pre-roll, `min_s` and `max_s`, and converts hops to frames."""
    cuts: list[SegmentBounds] = []
    pre_roll, shortest = round(settings.pre_roll_s * heard.sample_rate_hz), round(settings.min_s * heard.sample_rate_hz)
    for i, piece in enumerate(pieces):
        start = max(cuts[-1].end_frame if cuts else 0, piece.lead * heard.hop_frames - pre_roll)
        limit = pieces[i + 1].lead * heard.hop_frames - pre_roll if i + 1 < len(pieces) else heard.frames
        end = min(limit, heard.frames, max(start + shortest, (piece.tail + 4) * heard.hop_frames))
        if end - start >= shortest:
            cuts += split_long_span(start, end, heard, settings)
    return cuts


def split_long_span(start: int, end: int, heard: RecordingFeatures, settings: Settings) -> list[SegmentBounds]:
    """Cuts a long sound at its lowest novelty and level within the second half of the allowed length."""
    longest, shortest = settings.max_s * heard.sample_rate_hz, settings.min_s * heard.sample_rate_hz
    cuts, begin = [], start
    while end - begin > longest:
        low = begin + max(shortest, longest / 2)
        high = min(begin + longest, end - shortest)
        at = _find_calmest_hop(int(low / heard.hop_frames), int(high / heard.hop_frames), heard) * heard.hop_frames
        cuts.append(SegmentBounds(begin, at, begin > start))
        begin = at
    return [*cuts, SegmentBounds(begin, end, begin > start)]


def _find_calmest_hop(start: int, end: int, heard: RecordingFeatures) -> int:
    """The hop in [start, end) with a low level where the next 50 ms differ least from the last."""
    level = power_to_db(uniform_filter1d(heard.power[max(0, start - 20) : end + 20], 10, axis=0))
    novelty = np.maximum(level[10:] - level[:-10], 0).sum(axis=1)
    calm = uniform_filter1d(novelty, 10) + level[5:-5].max(axis=1) - level.max()
    inside = calm[max(0, start - max(0, start - 20) - 5) :][: max(1, end - start)]
    return start + int(np.argmin(inside))
