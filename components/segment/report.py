"""The report: the waveform of every recording with its segments, and recordings without segments."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from audiotune.audio.figures import draw_waveform
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.reporting import html

_ROWS = 400  # of the table of segments


@dataclass(frozen=True)
class SegmentedRecording:
    """One recording with its segments.

    Attributes:
        peaks: uint8 [columns], the waveform in decibels: 255 is full scale, 0 is -96 dBFS.
        reused: whether the segments come from an earlier run with the same settings.
        fault: why the recording could not be read, or empty.
        notes: how the labels beside it were followed.
    """

    recording: Recording
    segments: list[Segment]
    peaks: np.ndarray
    reused: bool = False
    fault: str = ""
    notes: list[str] = field(default_factory=list)


def render_report(results: Sequence[SegmentedRecording], most_pictures: int) -> str:
    """One page for all recordings, under 3 MB, with at most `most_pictures` waveforms."""
    segments = [segment for result in results for segment in result.segments]
    kept_s, whole_s = sum(s.duration_s for s in segments), sum(r.recording.duration_s for r in results)
    figures = html.render_key_figures(
        [
            ("recordings", len(results)),
            ("segments", len(segments)),
            ("heard", html.format_duration(whole_s)),
            ("kept", f"{html.format_duration(kept_s)} ({kept_s / whole_s:.0%})" if whole_s else "nothing"),
            ("talk (a guess)", sum(s.speech for s in segments)),
        ]
    )
    drawn = [r for r in results if not r.fault][:most_pictures]
    body = [figures, _render_problems(results), _render_labels(results), *(_render_recording(r) for r in drawn)]
    left_out = len([r for r in results if not r.fault]) - len(drawn)
    if left_out:
        body.append(html.render_note(f"{left_out} more recordings were cut and are not drawn here (setting: pictures)."))
    body.append(_render_table(results))
    return html.render_page(
        "Segments", "\n".join(body), subtitle="What was cut out of the recordings. Shaded: kept. A line: a segment begins."
    )


def _render_problems(results: Sequence[SegmentedRecording]) -> html.Markup:
    lines = [(r.recording.name, r.fault) for r in results if r.fault]
    lines += [(r.recording.name, "no sound rises over its noise") for r in results if not r.fault and not r.segments]
    return html.render_section("Left out", html.render_table(("recording", "why"), lines)) if lines else html.Markup()


def _render_labels(results: Sequence[SegmentedRecording]) -> html.Markup:
    lines = [(r.recording.name, note) for r in results for note in r.notes]
    more = html.render_note(f"The first {_ROWS} of {len(lines)} lines.") if len(lines) > _ROWS else None
    table = html.join_markup(more, html.render_table(("recording", "what was done"), lines[:_ROWS]))
    words = "Label tracks beside these takes say where to cut. Turn it off: cut_at_labels."
    return html.render_section("Cut at labels", words, table) if lines else html.Markup()


def _render_recording(result: SegmentedRecording) -> html.Markup:
    recording = result.recording
    amplitude = 10 ** ((result.peaks.astype(np.float32) / 255 - 1) * 96 / 20)
    cuts = [(s.start_s, s.start_s + s.duration_s) for s in result.segments]
    png = draw_waveform(amplitude, recording.duration_s, cuts, height_px=110)
    words = f"{html.format_duration(recording.duration_s)} · {len(cuts)} segments" + (" · cut before" if result.reused else "")
    alt = f"waveform of {recording.name} with {len(cuts)} segments"
    title = html.tag("h3", f"{recording.name} ", html.tag("span", words, class_="quiet"))
    return html.join_markup(title, html.render_picture(png, alt))


def _render_table(results: Sequence[SegmentedRecording]) -> html.Markup:
    rows = [
        (
            r.recording.name,
            html.format_duration(s.start_s),
            html.format_duration(s.duration_s),
            f"{s.gain_db:+.1f} dB",
            "–" if s.loudness_lufs is None else f"{s.loudness_lufs:.1f} LUFS",
            "talk?" if s.speech else "",
        )
        for r in results
        for s in r.segments
    ]
    more = html.render_note(f"The first {_ROWS} of {len(rows)} segments.") if len(rows) > _ROWS else None
    headers = ("recording", "begins", "lasts", "gain", "loudness", "")
    return html.render_details(f"All segments ({len(rows)})", html.join_markup(more, html.render_table(headers, rows[:_ROWS])))
