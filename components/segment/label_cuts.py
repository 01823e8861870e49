"""Cuts a recording at the regions of a label track beside it, in place of where sounds begin and end.

A region is cut as it stands. What cannot be cut so is said: what lies behind the end, what is silent, too long or too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiotune.audio.sound import to_decibels
from audiotune.domain.label_tracks import TimeLabel
from components.segment.features import RecordingFeatures
from components.segment.segment_bounds import SegmentBounds, split_long_span
from components.segment.settings import Settings

_MOST_LAYERS = 8  # regions over the same moment: the recording is read once more for each


@dataclass(frozen=True)
class LabelCuts:
    """Layers of cuts, each in order and without overlap; and what became of regions that are not cut as they stand."""

    layers: tuple[tuple[SegmentBounds, ...], ...]
    notes: tuple[str, ...] = ()


def find_label_cuts(labels: Sequence[TimeLabel], heard: RecordingFeatures, settings: Settings) -> LabelCuts:
    """The cuts of a recording whose labels have regions; no layers when none of them can be cut."""
    layers: list[list[SegmentBounds]] = []
    notes: list[str] = []
    regions = [label for label in labels if label.is_region]
    for label in regions:
        bounds, note = _fit_region(label, regions, heard, settings)
        if note:
            notes.append(f"{label.shown} {note}")
        if bounds is None:
            continue
        layer = next((layer for layer in layers if layer[-1].end_frame <= bounds.start_frame), None)
        if layer is None and len(layers) == _MOST_LAYERS:
            notes.append(f"{label.shown} is left out: {_MOST_LAYERS} other labels lie over it")
            continue
        if layer is None:
            layer = []
            layers.append(layer)
        layer += split_long_span(bounds.start_frame, bounds.end_frame, heard, settings)
    count = sum(not cut.continued for layer in layers for cut in layer)
    said = (
        f"cut at {count} of {len(regions)} labels" if count else "cut where sounds begin and end: none of its labels can be cut"
    )
    return LabelCuts(tuple(map(tuple, layers)), (said, *notes))


def _fit_region(
    label: TimeLabel, regions: Sequence[TimeLabel], heard: RecordingFeatures, settings: Settings
) -> tuple[SegmentBounds | None, str]:
    """The bounds of a region, and what is not as it says; None for a region that cannot be cut."""
    rate, shortest = heard.sample_rate_hz, round(settings.min_s * heard.sample_rate_hz)
    start, end = round(label.start_s * rate), min(round(label.end_s * rate), heard.frames)
    if start >= heard.frames:
        return None, f"is left out: the recording ends at {heard.frames / rate:.2f} s"
    note = ""
    if round(label.end_s * rate) > heard.frames + heard.hop_frames:
        note = f"goes beyond the recording's end and is cut there, at {heard.frames / rate:.2f} s"
    if end - start < shortest:
        start, end = _lengthen(start, end, shortest, [(round(r.start_s * rate), round(r.end_s * rate)) for r in regions], heard)
        if end - start < shortest:
            return None, f"is left out: it is shorter than min_s, {settings.min_s:g} s, and stands between others"
        note = f"is shorter than min_s and lasts {settings.min_s:g} s"
    first = start // heard.hop_frames
    peak = float(heard.peak[first : max(first + 1, -(-end // heard.hop_frames))].max(initial=0.0))
    if to_decibels(peak) <= settings.quietest_dbfs:
        return None, "is left out: nothing there is louder than quietest_dbfs"
    if end - start > settings.max_s * rate:
        note = f"is longer than max_s, {settings.max_s:g} s, and is cut where least happens"
    return SegmentBounds(start, end), note


def _lengthen(
    start: int, end: int, shortest: int, regions: Sequence[tuple[int, int]], heard: RecordingFeatures
) -> tuple[int, int]:
    """A short region with what follows it and, where that is not enough, with what comes before, up to its neighbours."""
    next_start = min((first for first, _ in regions if first >= end), default=heard.frames)
    before_end = max((last for _, last in regions if last <= start), default=0)
    end = min(start + shortest, next_start, heard.frames)
    return max(end - shortest, before_end, 0) if end - start < shortest else start, end
