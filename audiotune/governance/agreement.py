"""The agreement in force: published and read by the ledger. `agreement_record` has its data and its file.

A version takes force only if it is higher than the one before. A store without a ledger keeps its versions under
`governance/agreements/` (`earlier_records`), until the first event is written.
"""

from __future__ import annotations

from audiotune.errors import AgreementError, UnreadableAgreementError
from audiotune.governance.agreement_record import (
    ALL_USES,
    FIRST_USES,
    HIGHEST_VERSION,
    Agreement,
    Member,
    Use,
    load_agreement,
)
from audiotune.governance.earlier_records import agreement_key, list_agreement_versions, read_earlier_agreement
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.events import Via, event_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.record_events import AgreementPublished
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.port import Store

__all__ = [
    "ALL_USES",
    "FIRST_USES",
    "HIGHEST_VERSION",
    "Agreement",
    "Member",
    "Use",
    "agreement_key",
    "list_agreement_versions",
    "load_agreement",
    "publish_agreement",
    "read_current_agreement",
]


def publish_agreement(store: Store, agreement: Agreement, *, by: str = "", via: Via = "command") -> str:
    """Puts an agreement in force, as an event of the ledger; the one in force once more changes nothing.

    A newest version that cannot be read does not stop a later one. Returns the event's store key, or that of the newest event.

    Args:
        by: the member who publishes it, where somebody signed in.

    Raises AgreementError: another content has this version, or a later one is in force.
    """

    def draft_event(state: GovernanceState) -> EventDraft | None:
        if state.agreement and state.agreement.digest == agreement.digest:
            return None
        newest = state.unreadable_agreement or (state.agreement.version if state.agreement else 0)
        if newest >= agreement.version:
            raise AgreementError(
                f"version {newest} of the agreement is in force and differs", cure=f"set version = {newest + 1} in yours"
            )
        return EventDraft("agreement_published", AgreementPublished(agreement=agreement), by, via)

    ledger = open_ledger(store)
    event = ledger.append(draft_event)
    return event_key(event.number if event else ledger.read_state().number)


def read_current_agreement(store: Store) -> Agreement | None:
    """The version in force, or None when the store has none. Raises UnreadableAgreementError: it is damaged or of a newer program."""
    state = open_ledger(store).read_state()
    if not state.in_force:
        return read_earlier_agreement(store)
    if state.unreadable_agreement:
        cure = f"publish version {state.unreadable_agreement + 1}: python -m audiotune.access agreement publish FILE"
        raise UnreadableAgreementError(
            "the agreement in force could not be read when the ledger was opened",
            where=agreement_key(state.unreadable_agreement),
            cure=cure,
        )
    return state.agreement
