"""The report: agreement and reliability of members, their differences, the captions and the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audiotune.audio.sound import read_sound
from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.member_notices import count_imported
from audiotune.domain.recording import Recording
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import AudioTuneError
from audiotune.reporting import html
from audiotune.store.port import Store
from components.annotate_merge.krippendorff import AnnotatorAgreement
from components.annotate_merge.merge import MergeResult
from components.annotate_merge.settings import Settings
from components.annotate_merge.sources import NOT_PEOPLE

_ROWS = 300
_LETTERS = 160  # of a text in a table
_IMPORTED = "Nobody signed in to say this. The studio tells the members named; an answer of their own counts beside it."
_ONE_SIDED = (
    "Nothing is held out: every segment comes from one recording, or from recordings that sound the same or belong together. "
    "What evaluate measures then says nothing about new sounds. Record a second take, or ingest it as one."
)


@dataclass(frozen=True)
class AnnotationReportData:
    """The data of the page."""

    rows: Sequence[DatasetRow]
    recordings: Mapping[str, Recording]
    agreement: Sequence[AnnotatorAgreement]
    merged: Mapping[str, MergeResult]
    said: Sequence[Annotation]
    left_out: Sequence[tuple[str, str]]
    vocabulary: Vocabulary


def render_report(seen: AnnotationReportData, settings: Settings, store: Store) -> str:
    """The whole page, under 3 MB."""
    held = sum(row.split == "held_out" for row in seen.rows)
    people = {one.member for one in seen.said if one.member not in NOT_PEOPLE}
    parts = [
        html.render_key_figures(
            [
                ("segments", len(seen.rows)),
                ("to learn from", len(seen.rows) - held),
                ("held out", held),
                ("people who listened", len(people)),
                ("left out", len(seen.left_out)),
            ]
        )
    ]
    if not held and settings.held_out_share:
        parts.append(html.render_note(_ONE_SIDED, kind="bad"))
    parts.append(html.render_section("How far members agree", _render_agreement(seen.agreement)))
    parts.append(html.render_section("Who is heard to be right", _render_competence(seen.merged)))
    parts.append(html.render_section("Where members differ", _render_differences(seen, settings.players, store)))
    parts.append(html.render_section("The two sides", _render_split(seen)))
    parts.append(html.render_section("Captions", _render_captions(seen)))
    if imported := [(m, _shorten_text(f), n) for m, files in count_imported(seen.said).items() for f, n in files.items()]:
        table = html.render_table(("in the name of", "from the file", "answers"), imported)
        parts.append(html.render_section("Taken in from files", html.join_markup(html.render_note(_IMPORTED), table)))
    if seen.left_out:
        shown = [(_shorten_text(where), _shorten_text(why)) for where, why in seen.left_out[:_ROWS]]
        parts.append(html.render_section(f"Left out ({len(seen.left_out)})", html.render_table(("what", "why"), shown)))
    return html.render_page("Captions", "".join(parts), subtitle="Merged from everything members, file names and sidecars said.")


def _render_agreement(agreement: Sequence[AnnotatorAgreement]) -> html.Markup:
    def row(one: AnnotatorAgreement) -> tuple[str, str, str, int]:
        if one.alpha is None:
            return one.facet, "nobody heard what another heard", "", one.segments
        low_high = f"{one.interval[0]:.2f} to {one.interval[1]:.2f}" if one.interval else "too few"
        return one.facet, f"{one.alpha:.2f}", low_high, one.segments

    rows = [row(one) for one in agreement]
    table = html.render_table(("facet", "Krippendorff's alpha", "95 % interval", "segments heard by two or more"), rows)
    return html.join_markup(table, html.render_note("1 is full agreement, 0 is what chance gives."))


def _render_competence(merged: Mapping[str, MergeResult]) -> html.Markup:
    rows = [
        (
            facet,
            name,
            one.answers,
            f"{one.sensitivity:.0%}",
            f"{one.specificity:.1%}",
            f"{one.hits:.1f}",
            f"{one.misses:.1f}",
            f"{one.false_alarms:.1f}",
        )
        for facet, result in merged.items()
        for name, one in sorted(result.competence.items(), key=lambda item: -item[1].sensitivity)
    ]
    if not rows:
        return html.render_note("Nobody chose a term of the vocabulary.")
    headers = ("facet", "who", "answers", "says what holds", "leaves out what does not", "right", "missed", "wrong")
    return html.render_table(headers, rows)


def _render_differences(seen: AnnotationReportData, players: int, store: Store) -> html.Markup:
    """The segments whose terms are least certain: everybody's answer, and the merged caption."""
    said: dict[str, list[Annotation]] = {}
    for one in seen.said:
        if one.member not in NOT_PEOPLE and one.tags:
            said.setdefault(one.segment, []).append(one)
    doubtful = [row for row in seen.rows if len(said.get(row.segment.id, ())) > 1 and _measure_doubt(row) > 0]
    doubtful.sort(key=lambda row: (-_measure_doubt(row), row.segment.id))
    if not doubtful:
        return html.render_note("No segment was heard differently by two people.")
    rows = [
        (
            _render_player(store, row, place < players),
            _render_answers(said[row.segment.id], seen.vocabulary),
            _shorten_text(row.caption.text),
            _render_posteriors(row),
        )
        for place, row in enumerate(doubtful[: max(players, 12)])
    ]
    return html.render_table(("sound", "what they said", "what it became", "how sure"), rows)


def _measure_doubt(row: DatasetRow) -> float:
    """The uncertainty of a row's terms; 0 when all are certain."""
    return sum(p * (1 - p) for terms in row.caption.tags.values() for p in terms.values() if 0.01 < p < 0.99)


def _render_answers(said: Sequence[Annotation], vocabulary: Vocabulary) -> html.Markup:
    return html.tag("br").join(f"{one.member}: {_shorten_text(vocabulary.write_caption(one.tags))}" for one in said)


def _render_posteriors(row: DatasetRow) -> str:
    terms = [(p, term) for found in row.caption.tags.values() for term, p in found.items()]
    return _shorten_text(", ".join(f"{term.partition('.')[2]} {p:.0%}" for p, term in sorted(terms, reverse=True)))


def _render_player(store: Store, row: DatasetRow, wanted: bool) -> html.Markup:
    where = f"{row.recording_name} {html.format_duration(row.segment.start_s)}"
    if not wanted:
        return html.escape(where)
    try:
        return html.render_player(read_sound(store.fetch(row.segment.blob)), max_s=6, label=where)
    except AudioTuneError as e:  # one missing sound must not prevent the dataset
        return html.escape(f"{where}: {e.what}")


def _render_split(seen: AnnotationReportData) -> html.Markup:
    by_recording: dict[str, list[DatasetRow]] = {}
    for row in seen.rows:
        by_recording.setdefault(row.segment.recording, []).append(row)
    rows = [
        (seen.recordings[id].name, ", ".join(rows[0].contributors), seen.recordings[id].session, len(rows), rows[0].split)
        for id, rows in sorted(by_recording.items(), key=lambda item: (item[1][0].split, seen.recordings[item[0]].name))
    ]
    more = html.render_note(f"The first {_ROWS} of {len(rows)} recordings.") if len(rows) > _ROWS else None
    return html.join_markup(html.render_table(("recording", "by", "session", "segments", "side"), rows[:_ROWS]), more)


def _render_captions(seen: AnnotationReportData) -> html.Markup:
    shown = [
        (
            _shorten_text(row.recording_name),
            html.format_duration(row.segment.start_s),
            _shorten_text(row.caption.text),
            _shorten_text(" · ".join(row.caption.variants)),
            row.split,
        )
        for row in seen.rows[:_ROWS]
    ]
    more = html.render_note(f"The first {_ROWS} of {len(seen.rows)}.") if len(seen.rows) > _ROWS else None
    return html.join_markup(html.render_table(("recording", "at", "caption", "also said", "split"), shown), more)


def _shorten_text(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
