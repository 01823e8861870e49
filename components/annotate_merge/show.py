"""The report: how far members agree, who is heard to be right, and the captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audiotune import report
from audiotune.dataset import DatasetRow
from audiotune.recording import Recording
from components.annotate_merge.merge import Merged

_ROWS = 400


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha of a facet with its 95 % interval; None where nobody answered twice."""

    facet: str
    alpha: float | None
    interval: tuple[float, float] | None


def page(
    rows: Sequence[DatasetRow],
    recordings: Mapping[str, Recording],
    agreement: Sequence[Agreement],
    merged: Mapping[str, Merged],
    refused: Sequence[tuple[str, str]],
) -> str:
    """The whole page."""
    held = sum(row.split == "held_out" for row in rows)
    parts = [
        report.figures(
            [("segments", len(rows)), ("to learn from", len(rows) - held), ("held out", held), ("left out", len(refused))]
        ),
        report.section("How far members agree", _agreement(agreement)),
        report.section("Who is heard to be right", _competence(merged)),
        report.section("Captions", _captions(rows, recordings)),
    ]
    if refused:
        parts.append(report.section("Left out", report.table(("what", "why"), refused[:_ROWS])))
    return report.page("Captions", "".join(parts), subtitle="Merged from everything members, file names and sidecars said.")


def _agreement(agreement: Sequence[Agreement]) -> str:
    def words(one: Agreement) -> tuple[str, str, str]:
        if one.alpha is None:
            return (one.facet, "nobody answered twice", "")
        low_high = f"{one.interval[0]:.2f} to {one.interval[1]:.2f}" if one.interval else ""
        return (one.facet, f"{one.alpha:.2f}", low_high)

    return report.table(("facet", "Krippendorff's alpha", "95 % interval"), [words(one) for one in agreement])


def _competence(merged: Mapping[str, Merged]) -> str:
    rows = [
        (facet, name, f"{sensitivity:.0%}", f"{specificity:.0%}")
        for facet, result in merged.items()
        for name, (sensitivity, specificity) in result.competence.items()
    ]
    return report.table(("facet", "annotator", "says what holds", "leaves out what does not"), rows)


def _captions(rows: Sequence[DatasetRow], recordings: Mapping[str, Recording]) -> str:
    shown = [
        (
            recordings[r.segment.recording].name,
            report.seconds(r.segment.start_s),
            r.caption.text,
            " · ".join(r.caption.variants),
            r.split,
        )
        for r in rows[:_ROWS]
    ]
    return report.table(("recording", "at", "caption", "also said", "split"), shown)
