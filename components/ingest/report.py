"""The report of ingest: imported recordings, recordings that sound the same, and refused files with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiotune.domain.recording import Description, Likeness, Recording
from audiotune.reporting.html import (
    Markup,
    format_duration,
    join_markup,
    render_key_figures,
    render_note,
    render_page,
    render_section,
    render_table,
)

_ROWS = 2000  # of a table; a page stays under 3 MB


@dataclass(frozen=True)
class IngestReport:
    """The data of the page.

    Attributes:
        subtitle: the source and the agreement.
        refused: (file, reason).
        duplicates: (file, name of the recording with the same bytes).
        reused: number of recordings that an earlier run described.
        unused: (table or sidecar, what it says that is about no recording).
        waiting: (file, whose word it waits for, and the cure).
    """

    subtitle: str
    recordings: Sequence[Recording]
    refused: Sequence[tuple[str, str]]
    duplicates: Sequence[tuple[str, str]]
    reused: int
    unused: Sequence[tuple[str, str]] = ()
    waiting: Sequence[tuple[str, str]] = ()


def render_report(report: IngestReport) -> str:
    """The page, HTML, under 3 MB."""
    rows = report.recordings
    top = render_key_figures(
        [
            ("recordings", len(rows)),
            ("together", format_duration(sum(row.duration_s for row in rows))),
            ("refused", len(report.refused)),
            ("with a likeness", sum(bool(row.likenesses) for row in rows)),
            ("known before", report.reused),
        ]
    )
    parts = [top, _render_refused(report.refused), _render_recordings(rows), _render_likenesses(rows)]
    if report.waiting:
        parts.insert(2, _render_waiting(report))
    if report.unused:
        listed = _render_table(["in", "what"], report.unused)
        parts.insert(2, render_section("Said, and not used", "Compare the names with those of the files.", listed))
    if report.duplicates:
        listed = _render_table(["file", "same bytes as"], report.duplicates)
        parts.append(render_section("Came twice", "One recording each, whatever its names.", listed))
    return render_page("Recordings taken in", "".join(parts), subtitle=report.subtitle)


def _render_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    more = render_note(f"and {len(rows) - _ROWS} more") if len(rows) > _ROWS else ""
    return join_markup(render_table(heads, rows[:_ROWS]), more)


def _render_refused(refused: Sequence[tuple[str, str]]) -> str:
    return render_section(f"Refused ({len(refused)})", _render_table(["file", "reason"], refused)) if refused else ""


def _render_waiting(report: IngestReport) -> str:
    listed = _render_table(["recording", "why, and the cure"], report.waiting)
    words = "Until everybody in them has agreed they are in no training, no release and no generated sound."
    return render_section(f"Waiting for somebody's word ({len(report.waiting)})", words, listed)


def _render_recordings(rows: Sequence[Recording]) -> str:
    if not rows:
        return render_section("Recordings", "None.")
    heads = ["name", "by", "licence", "length", "format", "peak dBTP", "LUFS", "look at"]
    return render_section("Recordings", _render_table(heads, [_recording_row(row) for row in rows]))


def _recording_row(row: Recording) -> list[object]:
    form = f"{row.format}, {row.sample_rate_hz / 1000:g} kHz, {row.channels} ch"
    peak, loudness = row.description.true_peak_dbtp, row.description.loudness_lufs
    return [
        row.name,
        ", ".join(row.contributors),
        row.licence,
        format_duration(row.duration_s),
        form,
        "silence" if peak is None else f"{peak:.1f}",
        "–" if loudness is None else f"{loudness:.1f}",
        "; ".join((*_describe_labels(row), *row.notes, *list_faults(row.description))),
    ]


def _describe_labels(row: Recording) -> list[str]:
    regions = sum(label.is_region for label in row.labels)
    points = len(row.labels) - regions
    counted = [(number, kind) for number, kind in ((regions, "as cuts"), (points, "at points")) if number]
    named = [f"{number} label{'s' if number > 1 else ''} {kind}" for number, kind in counted]
    return [" and ".join(named)] if named else []


def list_faults(described: Description) -> list[str]:
    """The faults of a recording, in words for a musician; empty for a clean recording."""
    faults = []
    if described.peak_dbfs is None:
        return ["silent"]
    if described.clipped_share > 0:
        faults.append(f"clipped ({described.clipped_share:.2%})")
    if described.dropouts:
        faults.append(f"{described.dropouts} dropout{'s' if described.dropouts > 1 else ''}")
    if described.silent_channels:
        faults.append(f"channel {', '.join(str(c + 1) for c in described.silent_channels)} silent")
    if described.identical_channels:
        faults.append("all channels the same")
    if described.polarity_inverted:
        faults.append("polarity inverted between channels")
    if max(abs(dc) for dc in described.dc_offset) > 0.005:
        faults.append("DC offset")
    return faults


def _render_likenesses(recordings: Sequence[Recording]) -> str:
    names = {row.id: row.name for row in recordings}
    rows = [(row.name, *_describe_likeness(like, names)) for row in recordings for like in row.likenesses]
    if not rows:
        return ""
    heads = ["recording", "is", "of", "bits that differ"]
    return render_section(
        "Sounds that are there already",
        "What sounds like a recording of somebody who is not named waits for them.",
        _render_table(heads, rows),
    )


def _describe_likeness(like: Likeness, names: dict[str, str]) -> tuple[str, str, str]:
    other = names.get(like.recording, f"an earlier recording ({like.recording[:12]})")
    if like.kind == "same_sound":
        return "the same sound as", other, f"{like.bit_error_rate:.0%}"
    where = f"from {format_duration(like.start_s)}, there from {format_duration(like.other_start_s)}"
    return f"in {format_duration(like.duration_s)} the same ({where})", other, f"{like.bit_error_rate:.0%}"
