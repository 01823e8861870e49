"""A withdrawal as data: what a member took back, from when on, and what is to be erased."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import Use
from audiotune.governance.consent_record import Consent

# Nothing; the member's recordings themselves; also everything that was made of them.
Erasure = Literal["none", "recordings", "everything_derived"]
ALL_RECORDINGS = ""  # in place of a recording: what was taken back for all of a member's, also for later ones


class Withdrawal(FrozenModel):
    """A withdrawal in the state that the ledger gives it.

    Attributes:
        number: of its event.
        member: who took back.
        time: of its event.
        ends: when the uses end: at its time, or the agreement's days of grace later.
        recordings: those it is about; where `is_all`, those known at its time.
        is_all: it is about all recordings of the member, also later ones.
        uses: what was taken back.
    """

    number: int
    member: str
    time: datetime
    ends: datetime
    recordings: tuple[Digest, ...]
    is_all: bool
    uses: tuple[Use, ...]
    why: str = ""
    erase: Erasure = "none"


class ErasureRound(FrozenModel):
    """What was erased after a withdrawal.

    Attributes:
        event: number of the event that says so.
        list: SHA-256 of the list of everything that was erased.
        kept, unreachable: what stays, in sentences.
    """

    event: int
    counts: dict[str, int] = {}
    list: Digest
    kept: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()


def narrow_consent(record: Consent, uses: Iterable[Use], ends: datetime, at: datetime, basis: str) -> Consent:
    """A record without uses that have ended at a time, or with their end where it is later; the same where none of them is in it.

    Args:
        ends: when these uses end.
        at: the time of the event that says so.
        basis: of the new record.
    """
    taken = [use for use in uses if use in record.uses]
    if not taken:
        return record
    kept = record.uses if ends > at else tuple(use for use in record.uses if use not in taken)
    later = {**record.ends, **{use: min(ends, record.ends.get(use, ends)) for use in taken}}
    return record.model_copy(
        update={"uses": kept, "ends": {use: end for use, end in later.items() if use in kept}, "basis": basis, "time": at}
    )
