"""The report: how far members agree, who is heard to be right, where they differ, the captions and the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audiotune import report
from audiotune.annotation import Annotation
from audiotune.dataset import DatasetRow
from audiotune.errors import AudioTuneError
from audiotune.recording import Recording
from audiotune.sound import read
from audiotune.store.port import Store
from audiotune.vocabulary import Vocabulary
from components.annotate_merge.alpha import Agreement
from components.annotate_merge.merge import Merged
from components.annotate_merge.settings import Settings
from components.annotate_merge.sources import NOT_PEOPLE

_ROWS = 300
_LETTERS = 160  # of a text in a table
_ONE_SIDED = (
    "Nothing is held out: every segment comes from one recording, or from recordings that sound the same or belong together. "
    "What evaluate measures then says nothing about new sounds. Record a second take, or ingest it as one."
)


@dataclass(frozen=True)
class Seen:
    """What the page tells about."""

    rows: Sequence[DatasetRow]
    recordings: Mapping[str, Recording]
    agreement: Sequence[Agreement]
    merged: Mapping[str, Merged]
    said: Sequence[Annotation]
    left_out: Sequence[tuple[str, str]]
    vocabulary: Vocabulary


def page(seen: Seen, settings: Settings, store: Store) -> str:
    """The whole page, under 3 MB."""
    held = sum(row.split == "held_out" for row in seen.rows)
    people = {one.member for one in seen.said if one.member not in NOT_PEOPLE}
    parts = [
        report.figures(
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
        parts.append(report.note(_ONE_SIDED, kind="bad"))
    parts.append(report.section("How far members agree", _agreement(seen.agreement)))
    parts.append(report.section("Who is heard to be right", _competence(seen.merged)))
    parts.append(report.section("Where members differ", _differences(seen, settings.players, store)))
    parts.append(report.section("The two sides", _split(seen)))
    parts.append(report.section("Captions", _captions(seen)))
    if seen.left_out:
        shown = [(_short(what), _short(why)) for what, why in seen.left_out[:_ROWS]]
        parts.append(report.section(f"Left out ({len(seen.left_out)})", report.table(("what", "why"), shown)))
    return report.page("Captions", "".join(parts), subtitle="Merged from everything members, file names and sidecars said.")


def _agreement(agreement: Sequence[Agreement]) -> report.Html:
    def words(one: Agreement) -> tuple[str, str, str, int]:
        if one.alpha is None:
            return one.facet, "nobody heard what another heard", "", one.segments
        low_high = f"{one.interval[0]:.2f} to {one.interval[1]:.2f}" if one.interval else "too few"
        return one.facet, f"{one.alpha:.2f}", low_high, one.segments

    rows = [words(one) for one in agreement]
    table = report.table(("facet", "Krippendorff's alpha", "95 % interval", "segments heard by two or more"), rows)
    return report.Html(table + report.note("1 is full agreement, 0 is what chance gives."))


def _competence(merged: Mapping[str, Merged]) -> report.Html:
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
        return report.note("Nobody chose a term of the vocabulary.")
    headers = ("facet", "who", "answers", "says what holds", "leaves out what does not", "right", "missed", "wrong")
    return report.table(headers, rows)


def _differences(seen: Seen, players: int, store: Store) -> report.Html:
    """The segments whose terms are least certain: what everybody said, and what it became."""
    said: dict[str, list[Annotation]] = {}
    for one in seen.said:
        if one.member not in NOT_PEOPLE and one.tags:
            said.setdefault(one.segment, []).append(one)
    doubtful = [row for row in seen.rows if len(said.get(row.segment.id, ())) > 1 and _doubt(row) > 0]
    doubtful.sort(key=lambda row: (-_doubt(row), row.segment.id))
    if not doubtful:
        return report.note("No segment was heard differently by two people.")
    rows = [
        (
            _player(store, row, place < players),
            _voices(said[row.segment.id], seen.vocabulary),
            _short(row.caption.text),
            _weights(row),
        )
        for place, row in enumerate(doubtful[: max(players, 12)])
    ]
    return report.table(("sound", "what they said", "what it became", "how sure"), rows)


def _doubt(row: DatasetRow) -> float:
    """How near its terms are to being a toss-up; 0 when all are sure."""
    return sum(p * (1 - p) for terms in row.caption.tags.values() for p in terms.values() if 0.01 < p < 0.99)


def _voices(said: Sequence[Annotation], vocabulary: Vocabulary) -> report.Html:
    lines = (f"{report.escape(one.member)}: {report.escape(_short(vocabulary.caption_for(one.tags)))}" for one in said)
    return report.Html("<br>".join(lines))


def _weights(row: DatasetRow) -> str:
    terms = [(p, term) for found in row.caption.tags.values() for term, p in found.items()]
    return _short(", ".join(f"{term.partition('.')[2]} {p:.0%}" for p, term in sorted(terms, reverse=True)))


def _player(store: Store, row: DatasetRow, wanted: bool) -> report.Html:
    where = f"{row.recording_name} {report.seconds(row.segment.start_s)}"
    if not wanted:
        return report.escape(where)
    try:
        return report.player(read(store.fetch(row.segment.blob)), max_s=6, label=where)
    except AudioTuneError as e:  # a page without one sound is better than no dataset
        return report.escape(f"{where}: {e.what}")


def _split(seen: Seen) -> report.Html:
    told: dict[str, list[DatasetRow]] = {}
    for row in seen.rows:
        told.setdefault(row.segment.recording, []).append(row)
    rows = [
        (seen.recordings[id].name, ", ".join(rows[0].contributors), seen.recordings[id].session, len(rows), rows[0].split)
        for id, rows in sorted(told.items(), key=lambda item: (item[1][0].split, seen.recordings[item[0]].name))
    ]
    more = report.note(f"The first {_ROWS} of {len(rows)} recordings.") if len(rows) > _ROWS else report.Html("")
    return report.Html(report.table(("recording", "by", "session", "segments", "side"), rows[:_ROWS]) + more)


def _captions(seen: Seen) -> report.Html:
    shown = [
        (
            _short(row.recording_name),
            report.seconds(row.segment.start_s),
            _short(row.caption.text),
            _short(" · ".join(row.caption.variants)),
            row.split,
        )
        for row in seen.rows[:_ROWS]
    ]
    more = report.note(f"The first {_ROWS} of {len(seen.rows)}.") if len(seen.rows) > _ROWS else report.Html("")
    return report.Html(report.table(("recording", "at", "caption", "also said", "split"), shown) + more)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
