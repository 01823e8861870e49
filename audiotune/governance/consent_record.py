"""Consent as data: the uses of one recording that one contributor agrees to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import Use

# Begins the basis of a record that takes the place of one that could not be read.
UNREADABLE = "the earlier record cannot be read"


class Consent(FrozenModel):
    """The uses of one recording that one contributor agrees to.

    Attributes:
        uses: an empty one withdraws everything.
        basis: where the consent comes from, as in "agreement v1, standing consent" or "studio, signed in as ana".
        agreement: digest of the agreement in force.
        heard: false: an owner decided that this person is not heard in it, so nobody asks them.
        follows: recordings with the same sound: each use must be agreed to for them, too.
    """

    recording: Digest
    contributor: str
    uses: tuple[Use, ...]
    basis: str
    agreement: Digest
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    heard: bool = True
    follows: tuple[Digest, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON, without the fields that programs of 0.2 do not know where they say nothing."""
        known = {"heard"} if self.heard else set()
        return self.model_dump_json(exclude=known if self.follows else known | {"follows"}).encode()


Consents = Mapping[tuple[Digest, str], Consent]


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
