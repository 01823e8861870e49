"""A look before a training: is there enough to learn from, and does everybody agree? Knows no gradio.

It asks what the steps will ask (`annotate_merge` and `register`), so that an hour of a graphics card is not spent before a "no".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from audiotune import governance
from audiotune.domain.recording import Digest, Recording, words_from_file_name
from audiotune.governance import Agreement
from audiotune.store.port import Store
from services.studio.library import Library

FEW, GOOD = 20, 300  # segments with words: below the first it is a trial; from the second on a first model is a good one
Kind = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class ReadinessLine:
    """One thing that was looked at. A `bad` one stops a training, a `note` is good to know."""

    kind: Kind
    words: str


@dataclass(frozen=True)
class TrainingReadiness:
    """What a training would find."""

    lines: tuple[ReadinessLine, ...]

    @property
    def ready(self) -> bool:
        return all(line.kind != "bad" for line in self.lines)


def check_readiness(store: Store, shelf: Library, agreement: Agreement | None, answered: Collection[Digest]) -> TrainingReadiness:
    """Looks at segments, words and consent.

    Args:
        answered: segments that a member of the group has annotated.
    """
    if agreement is None:
        return _report_failure(
            "The store holds no agreement. Fill in agreement.toml together; the first ingest puts it in force."
        )
    if not shelf.segments:
        return _report_failure("There are no segments yet. Bring a jam on the Upload page.")
    cut = {segment.recording for segment in shelf.segments.values()}
    people = {id: r.contributors for id, r in shelf.recordings.items() if id in cut}
    consents = governance.read_consents(store, people)
    refused = governance.decide_policy("annotate_merge", agreement, consents, people)
    allowed = {id: shelf.recordings[id] for id in people if id not in refused.refused}
    if not allowed:
        return _report_failure(f"No recording may be trained on: {_join_reasons(refused.reasons)}. Ask the members named.")
    lines = [_check_words(shelf, allowed, answered)]
    if refused.refused:
        lines.append(
            ReadinessLine(
                "note", f"Left out: {_format_count(len(refused.refused), 'recording')} ({_join_reasons(refused.reasons)})."
            )
        )
    told = {id: r.contributors for id, r in allowed.items() if _has_words(shelf, r, answered)}
    release = governance.decide_policy("register", agreement, consents, told)
    if not release.is_allowed:
        lines.append(
            ReadinessLine(
                "bad", f"The last step would refuse the release: {_join_reasons(release.reasons)}. Ask the members named."
            )
        )
    play = governance.decide_policy("generate", agreement, consents, told)
    if release.is_allowed and not play.is_allowed:
        lines.append(ReadinessLine("note", f"It could not be played: {_join_reasons(play.reasons)}."))
    if release.is_allowed and play.is_allowed and told:
        lines.append(ReadinessLine("good", "Everybody who is heard agrees to train, release and generate."))
    if len(told) == 1:
        lines.append(
            ReadinessLine("note", "All of it is one recording: nothing can be held out to judge by, so the gate will not pass.")
        )
    return TrainingReadiness(tuple(lines))


def _check_words(shelf: Library, allowed: dict[Digest, Recording], answered: Collection[Digest]) -> ReadinessLine:
    """How many segments have words, and whose."""
    mine = [id for id, segment in shelf.segments.items() if segment.recording in allowed]
    heard = sum(id in answered for id in mine)
    named = sum(id not in answered and bool(_find_own_words(allowed[shelf.segments[id].recording])) for id in mine)
    told = heard + named
    if not told:
        return ReadinessLine(
            "bad", f"None of {_format_count(len(mine), 'segment')} has words. Annotate some first; twenty are a start."
        )
    words = f"{told} of {_format_count(len(mine), 'segment')} have words: {heard} by members' ears, {named} by their file's name."
    if told < FEW:
        return ReadinessLine("note", f"{words} That is enough for a trial; about {GOOD} make a good first model.")
    return ReadinessLine("good", words if told >= GOOD else f"{words} About {GOOD} make a good first model.")


def _has_words(shelf: Library, recording: Recording, answered: Collection[Digest]) -> bool:
    own = bool(_find_own_words(recording))
    return any(s.recording == recording.id and (own or id in answered) for id, s in shelf.segments.items())


def _find_own_words(recording: Recording) -> str:
    """What the file's name or the note beside it says of its sound."""
    return words_from_file_name(recording.name) or recording.words.strip()


def _report_failure(words: str) -> TrainingReadiness:
    return TrainingReadiness((ReadinessLine("bad", words),))


def _format_count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _join_reasons(reasons: tuple[str, ...]) -> str:
    """Reasons as one phrase; the first ones of many."""
    more = f" and {len(reasons) - 6} more" if len(reasons) > 6 else ""
    return "; ".join(reasons[:6]) + more
