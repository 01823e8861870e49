"""Whether a person is in the group now: the agreement in force, read at most every FRESH_S."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Literal

from audiotune.governance import Agreement, read_current_agreement
from audiotune.store.port import Store

Membership = Literal["member", "left", "stranger"]
FRESH_S = 2.0  # a member who leaves is noticed after that
_lock = threading.Lock()
_agreements: dict[str, tuple[Agreement | None, datetime]] = {}


def find_membership(store: Store, member: str, now: datetime | None = None) -> Membership:
    """`stranger`: the agreement does not name them. Where there is no agreement yet, everybody counts as a member.

    Raises UnreadableAgreementError, StoreError: nobody knows.
    """
    return judge_membership(_read_cached_agreement(store, now or datetime.now(UTC)), member)


def judge_membership(agreement: Agreement | None, member: str) -> Membership:
    """As `find_membership`, by the agreement in force."""
    if agreement is None:
        return "member"
    found = agreement.find_member(member)
    return "stranger" if found is None else "left" if found.left else "member"


def _read_cached_agreement(store: Store, now: datetime) -> Agreement | None:
    with _lock:
        agreement, read_at = _agreements.get(store.url, (None, None))
    if read_at is not None and 0 <= (now - read_at).total_seconds() < FRESH_S:
        return agreement
    agreement = read_current_agreement(store)
    with _lock:
        _agreements[store.url] = (agreement, now)
    return agreement
