"""Takes agreements and consents of 0.2 and older into a new ledger, marked as imported."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from audiotune.governance.earlier_records import iterate_earlier_consents, list_earlier_agreements
from audiotune.governance.ledger.agreement_events import AgreementPublished, AgreementUnreadable
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.record_events import MOST_RECORDS, ConsentsRecorded, EarlierRecordsTaken
from audiotune.store.port import Store


def draft_earlier_records(store: Store) -> Iterator[EventDraft]:
    """The events that take over what was there before; the last one puts the ledger in force."""
    agreements, unreadable = list_earlier_agreements(store)
    for agreement in agreements:
        yield EventDraft("agreement_published", AgreementPublished(agreement=agreement), via="import")
    if unreadable:
        yield EventDraft("agreement_unreadable", AgreementUnreadable(version=unreadable), via="import")
    consents = iterate_earlier_consents(store)
    while records := tuple(islice(consents, MOST_RECORDS)):
        yield EventDraft("consents_recorded", ConsentsRecorded(records=records), via="import")
    yield EventDraft("earlier_records_taken", EarlierRecordsTaken(), via="import")
