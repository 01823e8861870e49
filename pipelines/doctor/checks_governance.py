"""The doctor's checks of what the group agreed on: a ledger or records that cannot be read, and objects that are none of ours."""

from __future__ import annotations

from collections.abc import Iterator

from audiotune.errors import GovernanceError
from audiotune.governance.agreement import read_current_agreement
from audiotune.governance.consent_record import UNREADABLE
from audiotune.governance.earlier_records import (
    find_stray_keys,
    list_earlier_recordings,
    read_earlier_consents,
)
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.store import Store
from pipelines.doctor.findings import CheckResult, CheckTarget

_MOST_NAMES = 30


def check_governance(target: CheckTarget) -> Iterator[CheckResult]:
    """Every gate can read what it asks, and nothing else lies beside it."""
    store = target.opened_store
    faults = list(_find_faults(store))
    yield from faults
    stray = list(find_stray_keys(store))
    if stray:
        more = f" and {len(stray) - _MOST_NAMES} more" if len(stray) > _MOST_NAMES else ""
        words = (
            f"{len(stray)} objects under governance/ are none of ours and are passed over: {', '.join(stray[:_MOST_NAMES])}{more}"
        )
        yield "warning", words, "look at them, find out who wrote them, and remove them"
    if not faults and not stray:
        yield "well", "agreement and consents can be read"


def _find_faults(store: Store) -> Iterator[CheckResult]:
    try:
        state = open_ledger(store).read_state()
        read_current_agreement(store)
    except GovernanceError as e:
        yield "wrong", f"every gate is closed: {e.what} in {e.where}", e.cure
        return
    if not state.in_force:
        yield from _find_damaged_records(store)
        return
    cure = "compare the ledger with a backup or with a member's export: `audiotune ledger verify`"
    yield from (("wrong", f"the ledger was changed: {fault}", cure) for fault in verify_events(read_events(store)).faults)
    for recording, people in state.consents.items():
        for who, record in people.items():
            if record.basis.startswith(UNREADABLE):
                cure = f"record it anew: python -m audiotune.access recording consent {who} {recording} --uses ..."
                yield "wrong", f"the gates are closed for a recording: {record.basis.partition(';')[0]}", cure


def _find_damaged_records(store: Store) -> Iterator[CheckResult]:
    """Of a store without a ledger: the records that count and cannot be read."""
    for recording in list_earlier_recordings(store):
        try:
            read_earlier_consents(store, [recording])
        except GovernanceError as e:
            yield "wrong", f"the gates are closed for a recording: {e.what} in {e.where}", e.cure
