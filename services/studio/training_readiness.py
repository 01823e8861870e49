"""Checks before a training: is there enough to learn from, and does everybody agree? Does not import gradio.

They are the checks of the steps `annotate_merge` and `register`, so that a refusal comes before an hour of a graphics card is spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from audiotune import governance
from audiotune.domain.file_name_words import words_from_file_name
from audiotune.domain.recording import Digest, Recording
from audiotune.governance import Agreement
from audiotune.store.port import Store
from services.studio.library import Library

FEW, GOOD = 20, 300  # segments with words: fewer than FEW are a trial; GOOD make a good first model


@dataclass(frozen=True)
class ReadinessLine:
    """The result of one check. A `bad` one stops a training, a `note` is good to know."""

    kind: Literal["good", "note", "bad"]
    words: str


@dataclass(frozen=True)
class TrainingReadiness:
    """The results of all checks."""

    lines: tuple[ReadinessLine, ...]

    @property
    def ready(self) -> bool:
        return all(line.kind != "bad" for line in self.lines)


def check_readiness(
    store: Store, library: Library, agreement: Agreement | None, answered: Collection[Digest]
) -> TrainingReadiness:
    """Checks segments, words and consent. `answered`: segments that a member of the group has annotated."""
    if agreement is None:
        words = "The store holds no agreement. Make it together on the Agreement page."
        return _report_failure(words)
    if not library.segments:
        return _report_failure(_explain_no_segments(store, library, agreement))
    segmented = {segment.recording for segment in library.segments.values()}
    people = {id: r.contributors for id, r in library.recordings.items() if id in segmented}
    consents = governance.read_consents(store, people)
    merge = governance.decide_policy("annotate_merge", agreement, consents, people)
    allowed = {id: library.recordings[id] for id in people if id not in merge.refused}
    if not allowed:
        return _report_failure(f"No recording may be trained on: {_join_reasons(merge.reasons)}. Ask the members named.")
    lines = [_check_words(library, allowed, answered)]
    if merge.refused:
        words = f"Left out: {_format_count(len(merge.refused), 'recording')} ({_join_reasons(merge.reasons)})."
        lines.append(ReadinessLine("note", words))
    described = {id: r.contributors for id, r in allowed.items() if _has_words(library, r, answered)}
    release = governance.decide_policy("register", agreement, consents, described)
    generate = governance.decide_policy("generate", agreement, consents, described)
    if not release.is_allowed:
        words = f"The last step would refuse the release: {_join_reasons(release.reasons)}. Ask the members named."
        lines.append(ReadinessLine("bad", words))
    elif not generate.is_allowed:
        lines.append(ReadinessLine("note", f"It could not be played: {_join_reasons(generate.reasons)}."))
    elif described:
        lines.append(ReadinessLine("good", "Everybody who is heard agrees to train, release and generate."))
    if len(described) == 1:
        words = "All of it is one recording: nothing can be held out to judge by, so the gate will not pass."
        lines.append(ReadinessLine("note", words))
    return TrainingReadiness(tuple(lines))


def _explain_no_segments(store: Store, library: Library, agreement: Agreement) -> str:
    """The library has no segments of recordings that somebody does not let the group keep."""
    people = {id: r.contributors for id, r in library.recordings.items()}
    refused = governance.decide_policy("annotate_merge", agreement, governance.read_consents(store, people), people)
    if people and len(refused.refused) == len(people):
        return f"No recording may be trained on: {_join_reasons(refused.reasons)}. Ask the members named."
    return "There are no segments yet. Bring a jam on the Upload page."


def _check_words(library: Library, allowed: dict[Digest, Recording], answered: Collection[Digest]) -> ReadinessLine:
    """How many segments have words, and whose."""
    segments = {id: segment for id, segment in library.segments.items() if segment.recording in allowed}
    heard = sum(id in answered for id in segments)
    named = sum(id not in answered and bool(_find_own_words(allowed[s.recording])) for id, s in segments.items())
    described, count = heard + named, _format_count(len(segments), "segment")
    if not described:
        return ReadinessLine("bad", f"None of {count} has words. Annotate some first; twenty are a start.")
    words = f"{described} of {count} have words: {heard} by members' ears, {named} by their file's name."
    sessions = _find_session_names(allowed.values())
    alike = sum(id not in answered and _find_own_words(allowed[s.recording]) in sessions for id, s in segments.items())
    if alike:
        quoted = ", ".join(f"“{name}”" for name in sorted(sessions)[:3])
        words += f" {alike} of those names are shared by three takes or more ({quoted}): names of sessions, not of sounds?"
    if described < FEW:
        return ReadinessLine("note", f"{words} That is enough for a trial; about {GOOD} make a good first model.")
    return ReadinessLine("good", words if described >= GOOD else f"{words} About {GOOD} make a good first model.")


def _has_words(library: Library, recording: Recording, answered: Collection[Digest]) -> bool:
    own = bool(_find_own_words(recording))
    return any(s.recording == recording.id and (own or id in answered) for id, s in library.segments.items())


def _find_session_names(recordings: Iterable[Recording]) -> set[str]:
    """The file names' words that three recordings or more share, or that are the name of a recording's session."""
    every = list(recordings)
    names = Counter(words_from_file_name(recording.name) for recording in every)
    sessions = {words_from_file_name(recording.session) for recording in every}
    return {name for name, count in names.items() if name and (count >= 3 or name in sessions)}


def _find_own_words(recording: Recording) -> str:
    """The words of the file's name, or of the text file beside it."""
    return words_from_file_name(recording.name) or recording.words.strip()


def _report_failure(words: str) -> TrainingReadiness:
    return TrainingReadiness((ReadinessLine("bad", words),))


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _join_reasons(reasons: tuple[str, ...]) -> str:
    """Reasons as one phrase; the first ones of many."""
    more = f" and {len(reasons) - 6} more" if len(reasons) > 6 else ""
    return "; ".join(reasons[:6]) + more
