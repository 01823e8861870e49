"""The report: every recording with its cuts drawn over it, and what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from audiotune.audio.figures import draw_waveform
from audiotune.reporting import html
from components.segment.settings import Settings

if TYPE_CHECKING:
    from components.segment.step import SegmentationResult

_ROWS = 400  # of the table of segments


def render_report(took: Sequence[SegmentationResult], settings: Settings) -> str:
    """One page for all recordings, under 3 MB: at most `settings.pictures` waveforms, and it says when there are more."""
    segments = [segment for taken in took for segment in taken.segments]
    kept_s, whole_s = sum(s.duration_s for s in segments), sum(t.recording.duration_s for t in took)
    figures = html.render_key_figures(
        [
            ("recordings", len(took)),
            ("segments", len(segments)),
            ("heard", html.format_duration(whole_s)),
            ("kept", f"{html.format_duration(kept_s)} ({kept_s / whole_s:.0%})" if whole_s else "nothing"),
            ("talk (a guess)", sum(s.speech for s in segments)),
        ]
    )
    drawn = [t for t in took if not t.fault][: settings.pictures]
    body = [figures, _render_problems(took), *(_render_recording(t) for t in drawn)]
    left_out = len([t for t in took if not t.fault]) - len(drawn)
    if left_out:
        body.append(html.render_note(f"{left_out} more recordings were cut and are not drawn here (knob: pictures)."))
    body.append(_render_table(took))
    return html.render_page(
        "Segments", "\n".join(body), subtitle="What was cut out of the recordings. Shaded: kept. A line: a segment begins."
    )


def _render_problems(took: Sequence[SegmentationResult]) -> str:
    lines = [(t.recording.name, t.fault) for t in took if t.fault]
    lines += [(t.recording.name, "no sound rises over its noise") for t in took if not t.fault and not t.segments]
    return html.render_section("Left out", html.render_table(("recording", "why"), lines)) if lines else html.Html("")


def _render_recording(taken: SegmentationResult) -> str:
    recording = taken.recording
    amplitude = 10 ** ((taken.peaks.astype(np.float32) / 255 - 1) * 96 / 20)
    cuts = [(s.start_s, s.start_s + s.duration_s) for s in taken.segments]
    png = draw_waveform(amplitude, recording.duration_s, cuts, height_px=110)
    words = f"{html.format_duration(recording.duration_s)} · {len(cuts)} segments" + (" · cut before" if taken.reused else "")
    alt = f"waveform of {recording.name} with {len(cuts)} segments"
    return html.Html(
        f'<h3>{html.escape_html(recording.name)} <span class="quiet">{words}</span></h3>{html.render_picture(png, alt)}'
    )


def _render_table(took: Sequence[SegmentationResult]) -> str:
    rows = [
        (
            t.recording.name,
            html.format_duration(s.start_s),
            html.format_duration(s.duration_s),
            f"{s.gain_db:+.1f} dB",
            "–" if s.loudness_lufs is None else f"{s.loudness_lufs:.1f} LUFS",
            "talk?" if s.speech else "",
        )
        for t in took
        for s in t.segments
    ]
    more = html.render_note(f"The first {_ROWS} of {len(rows)} segments.") if len(rows) > _ROWS else html.Html("")
    headers = ("recording", "begins", "lasts", "gain", "loudness", "")
    return html.render_details(f"All segments ({len(rows)})", more, html.render_table(headers, rows[:_ROWS]))
