"""Events about withdrawals: a member takes back uses of their recordings, and says what is to be erased."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError, GovernanceError
from audiotune.governance.agreement_record import ALL_USES, Use
from audiotune.governance.consent_record import find_standing
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.withdrawal_record import ALL_RECORDINGS, Erasure, Withdrawal, narrow_consent

MOST_RECORDINGS = 2500  # named in one withdrawal, so that it fits into an event; more: in several, or all at once


class WithdrawalRecorded(FrozenModel):
    """A member takes back uses of their recordings. The event's number is the number of the withdrawal.

    Attributes:
        recordings: empty: all of theirs, also those that come later.
        uses: empty: all.
        erase: what is to be deleted; only together with all uses.
    """

    recordings: tuple[Digest, ...] = Field(default=(), max_length=MOST_RECORDINGS)
    uses: tuple[Use, ...] = ()
    why: str = Field(default="", max_length=2000)
    erase: Erasure = "none"


def _record_withdrawal(state: GovernanceState, event: LedgerEvent, body: WithdrawalRecorded) -> None:
    """Also a member who has left may take back and have erased."""
    own = {recording for recording, people in state.consents.items() if event.by in people and people[event.by].heard}
    strange = [recording for recording in body.recordings if recording not in own]
    if strange:
        what = f"{event.by} has no consent for recording {strange[0][:12]}"
        raise ConsentError(what, cure="take back your own; an owner decides who is heard in a recording")
    if not own and (state.agreement is None or state.agreement.find_member(event.by) is None):
        raise ConsentError(f"{event.by[:64]!r} is no member and is heard in nothing", cure="sign in with your own name")
    uses = tuple(dict.fromkeys(body.uses)) or ALL_USES
    if body.erase != "none" and set(uses) != set(ALL_USES):
        raise GovernanceError("what is erased has no use left", cure="take back all uses together with it")
    at = parse_event_time(event.time)
    withdrawal = Withdrawal(
        number=event.number,
        member=event.by,
        time=at,
        ends=at + timedelta(days=state.agreement.withdrawal_grace_days if state.agreement else 0),
        recordings=tuple(sorted(body.recordings or own)),
        is_all=not body.recordings,
        uses=uses,
        why=body.why,
        erase=body.erase,
    )
    state.withdrawals[event.number] = withdrawal
    _take_back(state, withdrawal)


def _take_back(state: GovernanceState, withdrawal: Withdrawal) -> None:
    """Narrows the records that count, and keeps what was taken back: only the member's own word gives it again."""
    member, taken = withdrawal.member, dict(state.taken_back.get(withdrawal.member, {}))
    for recording in (*withdrawal.recordings, *((ALL_RECORDINGS,) if withdrawal.is_all else ())):
        taken[recording] = tuple(dict.fromkeys((*taken.get(recording, ()), *withdrawal.uses)))
    state.taken_back[member] = taken
    if withdrawal.is_all and state.agreement:
        word = find_standing(state.standing, state.agreement, member)
        left = tuple(use for use in word.uses if use not in withdrawal.uses)
        state.standing[member] = word.model_copy(update={"uses": left, "event": withdrawal.number})
    basis = f"taken back: event {withdrawal.number}"
    for recording in withdrawal.recordings:
        people = state.consents[recording]
        narrowed = narrow_consent(people[member], withdrawal.uses, withdrawal.ends, withdrawal.time, basis)
        state.consents[recording] = {**people, member: narrowed}


def _erases(body: WithdrawalRecorded) -> bool:
    return body.erase != "none"


KINDS = {"withdrawal_recorded": EventKind(WithdrawalRecorded, _record_withdrawal, "member", fresh=_erases)}
