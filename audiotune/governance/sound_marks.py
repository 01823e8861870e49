"""Which releases and adapters may not be used any more, for the marks beside sounds that were made with them earlier."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from audiotune.domain.release import Release, find_card
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.release_standing import list_objections
from audiotune.store.port import Store

Maker = tuple[str, str]  # name and version of a release or adapter
_FRESH_S = 60.0  # consent may end at a time that it says itself, without an event


class WithdrawnMakers:
    """Answers for one store; many threads may use it. A question costs one look for a new event; the rest is remembered until there is one.

    Args:
        find_release: where a release without a card in the store is looked up; None where it is not known.
    """

    def __init__(self, store: Store, find_release: Callable[[str, str], Release | None] = lambda name, version: None) -> None:
        self._store, self._find_release = store, find_release
        self._lock = threading.Lock()
        self._releases: dict[Maker, Release] = {}  # what they were made of never changes
        self._reasons: dict[Maker, str] = {}
        self._known = (-1, 0.0)  # number of the ledger's newest event, and when the reasons were found

    def find_reasons(self, makers: Iterable[Maker]) -> dict[Maker, str]:
        """Why each of these may not make sounds any more, for those that may not. Raises StoreError, LedgerError."""
        state, now = open_ledger(self._store).read_state(), time.monotonic()
        with self._lock:
            if self._known[0] != state.number or now - self._known[1] > _FRESH_S:
                self._reasons, self._known = {}, (state.number, now)
            reasons = self._reasons
        for maker in set(makers) - reasons.keys():
            if (release := self._read_release(maker)) is not None:
                reasons[maker] = "; ".join(list_objections(self._store, state, release, "generate")) if state.agreement else ""
        return {maker: reasons[maker] for maker in makers if reasons.get(maker)}

    def _read_release(self, maker: Maker) -> Release | None:
        if maker not in self._releases:
            name, version = maker
            found = find_card(self._store, name, version) or self._find_release(name, version)
            if found is None:
                return None
            self._releases[maker] = found
        return self._releases[maker]
