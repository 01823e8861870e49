"""Events by which a member says what may be done with their recordings: some of them, or all, also those that come later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pydantic import AwareDatetime, Field, model_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import GovernanceError
from audiotune.governance.agreement_record import ALL_USES, Use
from audiotune.governance.consent_record import OWN_WORD, Consent, StandingConsent, find_standing
from audiotune.governance.ledger.event_kind import EventKind, require_active_member
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import is_unanswered
from audiotune.governance.withdrawal_record import ALL_RECORDINGS

MOST_RECORDINGS = 1000  # named in one event
ConsentChange = Callable[[Consent | StandingConsent], dict[str, Any]]  # a word -> the fields that change


class ConsentGiven(FrozenModel):
    """A member agrees to uses, besides those that they agreed to before and that have not ended.

    Attributes:
        recordings: empty: all in which they are heard, and those that come later.
        until: the new end of everything agreed to; None leaves it as it was, `no_end` takes it away.
        text: digest of the words that they saw; see `use_texts`.
    """

    recordings: tuple[Digest, ...] = Field(default=(), max_length=MOST_RECORDINGS)
    uses: tuple[Use, ...] = Field(default=(), max_length=len(ALL_USES))
    until: AwareDatetime | None = None
    no_end: bool = False
    text: Digest = Field(default="", pattern="^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _check_sense(self) -> ConsentGiven:
        if not (self.uses or self.until or self.no_end):
            raise ValueError("it names neither a use nor an end")
        if self.until and self.no_end:
            raise ValueError("it has an end, or it has none")
        return self


class ConsentNarrowed(FrozenModel):
    """A member takes back uses, or lets everything end earlier. `recordings`: as of `ConsentGiven`."""

    recordings: tuple[Digest, ...] = Field(default=(), max_length=MOST_RECORDINGS)
    uses: tuple[Use, ...] = Field(default=(), max_length=len(ALL_USES))
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check_sense(self) -> ConsentNarrowed:
        if not (self.uses or self.until):
            raise ValueError("it names neither a use nor an end")
        return self


def change_consents(
    state: GovernanceState, event: LedgerEvent, member: str, recordings: Collection[Digest], change: ConsentChange
) -> None:
    """Changes a member's records for recordings; of none: for all in which they are heard, and their standing word.

    Raises GovernanceError, before anything is changed: they are not heard in one of them, so that nobody closes or opens the gates for
    what others play.
    """
    assert state.agreement is not None
    for recording in recordings:
        record = state.consents.get(recording, {}).get(member)
        if record is None or not record.heard:
            what = f"{member} is not named as a player of recording {recording[:12]}"
            raise GovernanceError(what, cure="an owner decides who is heard in it")
        if _keeps_waiting(record, change):
            what = f"{member} was asked whether recording {recording[:12]} may be kept, and has not answered yet"
            raise GovernanceError(what, cure="answer under My recordings first")
    said = {"basis": f"{OWN_WORD} {event.number}", "time": parse_event_time(event.time), "agreement": state.agreement_digest}
    chosen = recordings or [id for id, people in state.consents.items() if member in people and people[member].heard]
    changes: dict[object, dict[str, Any]] = {}  # most records of a member say the same
    for recording in chosen:
        people = state.consents[recording]
        record = people[member]
        if _keeps_waiting(record, change):
            continue
        alike = (record.uses, record.until, record.text, *record.ends.items())
        if alike not in changes:
            changes[alike] = {**change(record), **said}
        state.consents[recording] = {**people, member: record.model_copy(update=changes[alike])}
    if not recordings:
        word = find_standing(state.standing, state.agreement, member)
        state.standing[member] = word.model_copy(update={**change(word), "event": event.number})


def _keeps_waiting(record: Consent, change: ConsentChange) -> bool:
    """Whether a record stays unanswered: only a yes answers it here, because a no would delete what waits."""
    return is_unanswered(record) and "store" not in change(record)["uses"]


def require_known_member(state: GovernanceState, id: str) -> str:
    """The id, also of a member who has left: what they gave can be taken back at any time. Raises GovernanceError."""
    if state.agreement is None or state.agreement.find_member(id) is None:
        raise GovernanceError(f"{id[:64]!r} is no member of the agreement in force", cure="the agreement names its members")
    return id


def sort_uses(uses: Collection[Use]) -> tuple[Use, ...]:
    return tuple(use for use in ALL_USES if use in uses)


def _give_consent(state: GovernanceState, event: LedgerEvent, body: ConsentGiven) -> None:
    member, time = require_active_member(state, event.by), parse_event_time(event.time)
    if body.until and body.until <= time:
        raise GovernanceError("this end has passed already", cure="name a later one")

    def widen(word: Consent | StandingConsent) -> dict[str, Any]:
        kept = {use for use in word.uses if word.agrees_to(use, time)}
        end = None if body.no_end or word.has_ended(time) else word.until
        changed: dict[str, Any] = {
            "uses": sort_uses(kept | {*body.uses}),
            "until": body.until or end,
            "text": body.text or word.text,
        }
        if isinstance(word, StandingConsent):
            return changed
        return {**changed, "ends": {use: moment for use, moment in word.ends.items() if use in kept - {*body.uses}}}

    change_consents(state, event, member, body.recordings, widen)
    _give_again(state, member, body.recordings, body.uses)


def _narrow_consent(state: GovernanceState, event: LedgerEvent, body: ConsentNarrowed) -> None:
    member = require_known_member(state, event.by)

    def narrow(word: Consent | StandingConsent) -> dict[str, Any]:
        uses = tuple(use for use in word.uses if use not in body.uses)
        changed: dict[str, Any] = {"uses": uses, "until": min((end for end in (word.until, body.until) if end), default=None)}
        if isinstance(word, StandingConsent):
            return changed
        return {**changed, "ends": {use: moment for use, moment in word.ends.items() if use in uses}}

    change_consents(state, event, member, body.recordings, narrow)
    take_back(state, member, body.recordings, body.uses)


def take_back(state: GovernanceState, member: str, recordings: Collection[Digest], uses: Collection[Use]) -> None:
    """Keeps what a member took back, so that only their own word gives it again; without recordings, for all of theirs."""
    if uses:
        taken = dict(state.taken_back.get(member, {}))
        for recording in recordings or (ALL_RECORDINGS,):
            taken[recording] = sort_uses({*taken.get(recording, ()), *uses})
        state.taken_back[member] = taken


def _give_again(state: GovernanceState, member: str, recordings: Collection[Digest], uses: Collection[Use]) -> None:
    taken = dict(state.taken_back.get(member, {}))
    for recording in recordings or list(taken):
        if recording in taken:
            taken[recording] = tuple(use for use in taken[recording] if use not in uses)
            if not taken[recording]:
                del taken[recording]
    state.taken_back[member] = taken


KINDS = {
    "consent_given": EventKind(ConsentGiven, _give_consent, "member"),
    "consent_narrowed": EventKind(ConsentNarrowed, _narrow_consent, "member"),
}
