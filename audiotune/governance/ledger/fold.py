"""Folds events into the state. `KINDS` lists every kind of event.

To add a kind: a body and an `apply` function in a module of its subject, whose own `KINDS` is added here.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from audiotune.domain.recording import Digest
from audiotune.errors import GovernanceError, LedgerError
from audiotune.governance.ledger import (
    agreement_events,
    consent_events,
    erasure_events,
    excepted_events,
    key_events,
    proposal_events,
    record_events,
    waiting_events,
    withdrawal_events,
)
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState

_SUBJECTS = (
    agreement_events,
    key_events,
    record_events,
    consent_events,
    excepted_events,
    proposal_events,
    withdrawal_events,
    erasure_events,
    waiting_events,
)
KINDS: Mapping[str, EventKind] = {name: kind for subject in _SUBJECTS for name, kind in subject.KINDS.items()}
_UPGRADE = "a newer program may have written it: upgrade this one"


def apply_event(state: GovernanceState, event: LedgerEvent, digest: Digest, key: str) -> None:
    """Moves the state on by one event.

    Args:
        digest: SHA-256 of the event's stored bytes.
        key: where it is stored, for errors.

    Raises LedgerError: it is not the next event, or cannot be understood. An event that only breaks a rule is kept as rejected.
    """
    if (event.number, event.previous) != (state.number + 1, state.head):
        what = f"event {event.number} does not follow event {state.number}"
        raise LedgerError(
            what, where=key, cure="somebody changed the ledger: run `audiotune ledger verify`, restore it from a backup"
        )
    try:
        change_state(state, event, key)
    except LedgerError:
        raise
    except GovernanceError as e:
        state.rejected.append((event.number, e.what))
    state.number, state.head = event.number, digest


def change_state(state: GovernanceState, event: LedgerEvent, key: str) -> None:
    """Makes the event's change. Raises GovernanceError: it breaks a rule. Raises LedgerError: it cannot be understood."""
    kind = KINDS.get(event.kind)
    if kind is None:
        raise LedgerError(f"events of the kind {event.kind!r} are not known", where=key, cure=_UPGRADE)
    try:
        body = kind.body.model_validate(event.body)
    except ValidationError as e:
        fault = e.errors()[0]
        what = f"the body of a {event.kind} event cannot be read: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        raise LedgerError(what, where=key, cure=_UPGRADE) from e
    kind.apply(state, event, body)
