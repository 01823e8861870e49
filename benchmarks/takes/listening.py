"""Plays simulated takes to the segmentation."""

from __future__ import annotations

from benchmarks.takes.simulated_take import SimulatedTake
from benchmarks.takes.sources import RATE_HZ
from components.segment.features import RecordingFeatures, extract_features
from components.segment.segment_bounds import find_segment_bounds
from components.segment.settings import Settings

_BLOCK = 1 << 16


def hear_take(take: SimulatedTake) -> RecordingFeatures:
    blocks = (take.frames[at : at + _BLOCK] for at in range(0, len(take.frames), _BLOCK))
    return extract_features(blocks, RATE_HZ, Settings().highpass_hz)


def find_spans(heard: RecordingFeatures, **settings: float) -> list[tuple[float, float]]:
    """The segments in seconds; a long sound that was cut is one."""
    spans: list[tuple[float, float]] = []
    for cut in find_segment_bounds(heard, Settings(max_s=300, **settings)):  # type: ignore[arg-type]
        start, end = cut.start_frame / heard.sample_rate_hz, cut.end_frame / heard.sample_rate_hz
        if cut.continued:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
