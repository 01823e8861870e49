"""The agreement in force: published and read by the ledger. `agreement_record` has its data and its file.

A version takes force only if it is higher than the one before. A store without a ledger keeps its versions under
`governance/agreements/` (`earlier_records`), until the first event is written.
"""

from __future__ import annotations

from audiotune.domain.recording import Digest
from audiotune.errors import UnreadableAgreementError
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
from audiotune.governance.ledger.agreement_events import AgreementPublished, complete_agreement
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.events import Via, event_key
from audiotune.governance.ledger.ledger import open_ledger
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
    "complete_agreement",
    "is_earlier_version",
    "list_agreement_versions",
    "load_agreement",
    "publish_agreement",
    "read_current_agreement",
]


def publish_agreement(
    store: Store, agreement: Agreement, *, by: str = "", via: Via = "command", instead_of: Digest = "", override: str = ""
) -> str:
    """Puts an agreement in force, as an event of the ledger; the one in force once more changes nothing.

    Who is in the version before and not in this one has left. A newest version that cannot be read does not stop a later one.

    Args:
        by: the member who publishes it, where somebody signed in.
        instead_of: digest of the version that they saw; empty for a file.
        override: why an operator does it although the agreement asks for a decision of the group.

    Returns the event's store key, or that of the newest event.

    Raises AgreementError: another content has this version, or a later one is in force. Raises DecisionError: the group decides.
    """

    def draft_event(state: GovernanceState) -> EventDraft | None:
        text = complete_agreement(state, agreement, instead_of)
        if state.agreement and state.agreement.digest == text.digest:
            return None
        body = AgreementPublished(agreement=text, instead_of=instead_of, override=override)
        return EventDraft("agreement_published", body, by, via)

    ledger = open_ledger(store)
    event = ledger.append(draft_event)
    return event_key(event.number if event else ledger.read_state().number)


def is_earlier_version(store: Store, agreement: Agreement) -> bool:
    """Whether this text was in force before the one that is."""
    state = open_ledger(store).read_state()
    newest = state.agreement.version if state.agreement else 0
    return state.agreements.get(agreement.digest, newest) < newest


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
