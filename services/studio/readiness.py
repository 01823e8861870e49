"""A look before a training: is there enough to learn from, and does everybody agree? Knows no gradio.

It asks what the steps will ask (`annotate_merge` and `register`), so that an hour of a graphics card is not spent before a "no".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from audiotune import governance
from audiotune.governance import Agreement
from audiotune.recording import Digest, Recording, words_of_name
from audiotune.store.port import Store
from services.studio.shelf import Shelf

FEW, GOOD = 20, 300  # segments with words: below the first it is a trial; from the second on a first model is a good one
Kind = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. A `bad` one stops a training, a `note` is good to know."""

    kind: Kind
    words: str


@dataclass(frozen=True)
class Readiness:
    """What a training would find."""

    lines: tuple[Line, ...]

    @property
    def ready(self) -> bool:
        return all(line.kind != "bad" for line in self.lines)


def look(store: Store, shelf: Shelf, agreement: Agreement | None, answered: Collection[Digest]) -> Readiness:
    """Looks at segments, words and consent.

    Args:
        answered: segments that a member of the group has annotated.
    """
    if agreement is None:
        return _only("The store holds no agreement. Fill in agreement.toml together; the first ingest puts it in force.")
    if not shelf.segments:
        return _only("There are no segments yet. Bring a jam on the Upload page.")
    cut = {segment.recording for segment in shelf.segments.values()}
    people = {id: r.contributors for id, r in shelf.recordings.items() if id in cut}
    consents = governance.consents_for(store, people)
    refused = governance.ask("annotate_merge", agreement, consents, people)
    allowed = {id: shelf.recordings[id] for id in people if id not in refused.refused}
    if not allowed:
        return _only(f"No recording may be trained on: {_listed(refused.reasons)}. Ask the members named.")
    lines = [_words(shelf, allowed, answered)]
    if refused.refused:
        lines.append(Line("note", f"Left out: {_count(len(refused.refused), 'recording')} ({_listed(refused.reasons)})."))
    told = {id: r.contributors for id, r in allowed.items() if _described(shelf, r, answered)}
    release = governance.ask("register", agreement, consents, told)
    if not release.allowed:
        lines.append(Line("bad", f"The last step would refuse the release: {_listed(release.reasons)}. Ask the members named."))
    play = governance.ask("generate", agreement, consents, told)
    if release.allowed and not play.allowed:
        lines.append(Line("note", f"It could not be played: {_listed(play.reasons)}."))
    if release.allowed and play.allowed and told:
        lines.append(Line("good", "Everybody who is heard agrees to train, release and generate."))
    if len(told) == 1:
        lines.append(Line("note", "All of it is one recording: nothing can be held out to judge by, so the gate will not pass."))
    return Readiness(tuple(lines))


def _words(shelf: Shelf, allowed: dict[Digest, Recording], answered: Collection[Digest]) -> Line:
    """How many segments have words, and whose."""
    mine = [id for id, segment in shelf.segments.items() if segment.recording in allowed]
    heard = sum(id in answered for id in mine)
    named = sum(id not in answered and bool(_own_words(allowed[shelf.segments[id].recording])) for id in mine)
    told = heard + named
    if not told:
        return Line("bad", f"None of {_count(len(mine), 'segment')} has words. Annotate some first; twenty are a start.")
    words = f"{told} of {_count(len(mine), 'segment')} have words: {heard} by members' ears, {named} by their file's name."
    if told < FEW:
        return Line("note", f"{words} That is enough for a trial; about {GOOD} make a good first model.")
    return Line("good", words if told >= GOOD else f"{words} About {GOOD} make a good first model.")


def _described(shelf: Shelf, recording: Recording, answered: Collection[Digest]) -> bool:
    own = bool(_own_words(recording))
    return any(s.recording == recording.id and (own or id in answered) for id, s in shelf.segments.items())


def _own_words(recording: Recording) -> str:
    """What the file's name or the note beside it says of its sound."""
    return words_of_name(recording.name) or recording.words.strip()


def _only(words: str) -> Readiness:
    return Readiness((Line("bad", words),))


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _listed(reasons: tuple[str, ...]) -> str:
    """Reasons as one phrase; the first ones of many."""
    more = f" and {len(reasons) - 6} more" if len(reasons) > 6 else ""
    return "; ".join(reasons[:6]) + more
