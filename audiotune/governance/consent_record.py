"""Consent as data: the uses of one recording that one contributor agrees to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, model_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import Agreement, Use

# Begins the basis of a record that takes the place of one that could not be read.
UNREADABLE = "the earlier record cannot be read"
OWN_WORD = "in the ledger's event"  # begins the basis of a record that its contributor made; the event's number follows


def _is_empty(value: object) -> bool:
    return not value


class RecordingPart(FrozenModel):
    """A part of a recording, in seconds from its start."""

    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_order(self) -> RecordingPart:
        if self.end_s <= self.start_s:
            raise ValueError(f"it ends at {self.end_s:g} s, before it begins at {self.start_s:g} s")
        return self


class ExceptedPart(RecordingPart):
    """A part of a recording that a consent leaves out.

    Attributes:
        since: when its player said so; None where nobody wrote it down.
        ends: until then releases that were made with it may play: after the agreement's days of grace; None: at once.
    """

    since: AwareDatetime | None = Field(default=None, exclude_if=_is_empty)
    ends: AwareDatetime | None = Field(default=None, exclude_if=_is_empty)


class Consent(FrozenModel):
    """The uses of one recording that one contributor agrees to.

    Attributes:
        uses: an empty one withdraws everything.
        basis: where the consent comes from, as in "agreement v1, standing consent" or "studio, signed in as ana".
        agreement: digest of the agreement in force.
        heard: false: an owner decided that this person is not heard in it, so nobody asks them.
        follows: recordings with the same sound: each use must be agreed to for them, too.
        until: from this moment on nothing is agreed to; None: no end.
        text: SHA-256 of the words that the contributor saw (`use_texts`); empty where nobody knows.
        excepted: parts of the recording to which nothing of this applies.
        ends: uses that were taken back, with the days of grace that the agreement gives -> when each ends.
    """

    recording: Digest
    contributor: str
    uses: tuple[Use, ...]
    basis: str
    agreement: Digest
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    # Fields that came later are left out of the JSON where they say nothing, so that records keep their bytes and programs of 0.2
    # read them.
    heard: bool = Field(default=True, exclude_if=lambda heard: bool(heard))
    follows: tuple[Digest, ...] = Field(default=(), exclude_if=_is_empty)
    until: AwareDatetime | None = Field(default=None, exclude_if=_is_empty)
    text: Digest = Field(default="", pattern="^([0-9a-f]{64})?$", exclude_if=_is_empty)
    excepted: tuple[ExceptedPart, ...] = Field(default=(), max_length=100, exclude_if=_is_empty)
    ends: dict[Use, AwareDatetime] = Field(default_factory=dict, exclude_if=_is_empty)  # a default would be copied each time

    def agrees_to(self, use: Use, now: datetime) -> bool:
        """Whether its contributor lets the recording be used so at a moment."""
        end = self.find_end(use)
        return use in self.uses and (end is None or now < end)

    def find_end(self, use: Use) -> datetime | None:
        """The moment from which on a use is not agreed to any more; None: no end."""
        return min((end for end in (self.until, self.ends.get(use)) if end), default=None)

    def has_ended(self, now: datetime) -> bool:
        return self.until is not None and now >= self.until

    def to_bytes(self) -> bytes:
        return self.model_dump_json().encode()


class StandingConsent(FrozenModel):
    """What a member agrees to for every recording in which they are named from now on.

    Attributes:
        event: number of the event in which the member said it; 0: the agreement says it (`Member.consents_to`).
    """

    uses: tuple[Use, ...] = ()
    until: AwareDatetime | None = None
    text: Digest = ""
    event: int = 0

    def agrees_to(self, use: Use, now: datetime) -> bool:
        return use in self.uses and not self.has_ended(now)

    def has_ended(self, now: datetime) -> bool:
        return self.until is not None and now >= self.until


Consents = Mapping[tuple[Digest, str], Consent]
Standing = Mapping[str, StandingConsent]  # by member: of those who said it themselves


def find_standing(standing: Standing, agreement: Agreement, member: str) -> StandingConsent:
    """A member's standing word: their own where they gave one, whatever later versions of the agreement say; else the agreement's."""
    person = agreement.find_member(member)
    return standing.get(member) or StandingConsent(uses=person.consents_to if person else ())


def follow_consents(
    recordings: Iterable[Digest], find_people: Callable[[Digest], Mapping[str, Consent]]
) -> dict[tuple[Digest, str], Consent]:
    """(recording, contributor) -> record, of these recordings and of all that a record follows.

    Args:
        find_people: recording -> contributor -> the record that counts.
    """
    found: dict[tuple[Digest, str], Consent] = {}
    waiting, seen = list(recordings), set[Digest]()
    while waiting:
        recording = waiting.pop()
        if recording in seen:
            continue
        seen.add(recording)
        for contributor, consent in find_people(recording).items():
            found[recording, contributor] = consent
            waiting += consent.follows
    return found


def list_heard(consents: Consents, recordings: Mapping[Digest, Iterable[str]]) -> dict[Digest, tuple[str, ...]]:
    """Recording -> everybody heard in it: those given and all who have a record, without those an owner decided about."""
    people = {recording: dict.fromkeys(given) for recording, given in recordings.items()}
    for recording, contributor in sorted(consents):
        if recording in people:
            people[recording].setdefault(contributor)
    return {
        recording: tuple(who for who in everybody if (record := consents.get((recording, who))) is None or record.heard)
        for recording, everybody in people.items()
    }
