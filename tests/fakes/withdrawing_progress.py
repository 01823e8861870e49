"""A progress callback by which a member withdraws while a step works."""

from __future__ import annotations

from audiotune.governance.member_acts import append_member_event
from audiotune.store.port import Store


class WithdrawingProgress:
    """`done`: the step came as far as `at` (a share of its work), and the member has withdrawn."""

    def __init__(self, store: Store, member: str, at: float) -> None:
        self._store, self._member, self._at, self.done = store, member, at, False

    def __call__(self, share: float, words: str) -> None:
        if share >= self._at and not self.done:
            self.done = True
            append_member_event(self._store, self._member, "withdrawal_recorded", {"why": "I changed my mind"})
