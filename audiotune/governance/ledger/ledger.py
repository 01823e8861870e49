"""The ledger in a store: reads the state, and appends events.

Events lie under consecutive numbers, each written only if its number is free: of two writers who act at once, one reads the other's
event and decides anew. What a reader has folded is kept, so that a question costs one look for the next number. A reader trusts the
hashes, which chain the events, and the service's signature of the newest one, which vouches for all before it.

An event that was deleted before a reader came to it would hide all behind it. So a reader lists what lies behind its last event when it
starts, every LOOK_EVERY_S, and before it appends; where one is missing it reads and appends nothing until that is back.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from audiotune.errors import AlreadyInStoreError, LedgerError, NotInStoreError
from audiotune.governance.ledger.event_draft import EventDraft, dump_body
from audiotune.governance.ledger.events import (
    LedgerEvent,
    compute_event_digest,
    event_key,
    is_event_key,
    is_signature_valid,
    parse_event,
    sign_event,
)
from audiotune.governance.ledger.fold import apply_event, change_state
from audiotune.governance.ledger.import_earlier import draft_earlier_records
from audiotune.governance.ledger.key_events import ServiceKeyAdded
from audiotune.governance.ledger.keys import SigningKey, load_signing_keys
from audiotune.governance.ledger.snapshots import SNAPSHOT_EVERY, read_snapshot, write_snapshot
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.layout import LEDGER
from audiotune.store.port import Store

LOOK_EVERY_S = 10.0  # between looks for events behind a missing one
_TRIES = 200  # other writers may be first that often


class Ledger:
    """The ledger of a store. One object for each store and process: see `open_ledger`.

    Args:
        store: holds it.
        key: signs what this program takes in; None: see `load_signing_keys`, when it is first needed.
        older_keys: the service's earlier keys, which introduce the present one.
    """

    def __init__(self, store: Store, key: SigningKey | None = None, older_keys: Iterable[SigningKey] = ()) -> None:
        self._store, self._key, self._older_keys = store, key, tuple(older_keys)
        self._state: GovernanceState | None = None
        self._looked_at = 0.0  # on the monotonic clock
        self._lock = threading.RLock()

    def read_state(self, *, look: bool = False) -> GovernanceState:
        """The state after the newest event; do not change it. Raises LedgerError: it was damaged or changed.

        Args:
            look: whether to look for a missing event now.
        """
        with self._lock:
            is_due = look or self._state is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S
            newest = self._find_newest(self._state) if is_due else ""
            state = self._state or read_snapshot(self._store)
            moved = self._follow(state)
            if newest > event_key(moved.number):
                cure = "restore it from a backup: what it and the events behind it say is not known"
                missing = moved.number + 1
                raise LedgerError(f"event {missing} is missing", where=event_key(missing), cure=cure)
            if moved is not state:
                _check_newest(moved, self._store)
            if is_due:
                self._looked_at = time.monotonic()
            self._state = moved
            return moved

    def append(self, build: Callable[[GovernanceState], EventDraft | None]) -> LedgerEvent | None:
        """Appends what `build` makes of the newest state; again with a newer one where another writer was first.

        Raises GovernanceError: a rule forbids it. Returns None where `build` does.
        """
        if not self.read_state().in_force:
            self._take_earlier_records()
        return self._append_draft(build)

    def _append_draft(self, build: Callable[[GovernanceState], EventDraft | None]) -> LedgerEvent | None:
        for _ in range(_TRIES):
            key = self._require_key(self.read_state(look=True))
            state = self.read_state()
            draft = build(state)
            if draft is None:
                return None
            event = self._sign(state, key, draft)
            after = state.copy()
            change_state(after, event, event_key(event.number))
            try:
                self._store.put(event_key(event.number), event.to_bytes(), only_new=True)
            except AlreadyInStoreError:
                continue
            if event.number % SNAPSHOT_EVERY == 0:
                after.number, after.head = event.number, compute_event_digest(event.to_bytes())
                write_snapshot(self._store, after, key)
            return event
        raise LedgerError("other events keep arriving", where=LEDGER.path, cure="try again in a moment")

    def _take_earlier_records(self) -> None:
        """Takes over what was there before the ledger. After a crash in the middle, everything once more."""
        for draft in draft_earlier_records(self._store):
            self._append_draft(lambda state, draft=draft: None if state.in_force else draft)  # type: ignore[misc]

    def _require_key(self, state: GovernanceState) -> SigningKey:
        """This program's key, which the ledger knows."""
        if self._key is None:
            self._key, self._older_keys = load_signing_keys()
        if self._key.id not in state.service_keys:
            known = next((older for older in self._older_keys if older.id in state.service_keys), self._key)
            kind = "service_key_added" if state.number else "ledger_opened"
            event = self._sign(state, known, EventDraft(kind, ServiceKeyAdded(key=self._key.public.hex())))
            try:
                self._store.put(event_key(event.number), event.to_bytes(), only_new=True)
            except AlreadyInStoreError:
                return self._require_key(self.read_state())
        return self._key

    def _sign(self, state: GovernanceState, key: SigningKey, draft: EventDraft) -> LedgerEvent:
        return sign_event(
            key,
            number=state.number + 1,
            previous=state.head,
            time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            kind=draft.kind,
            by=draft.by,
            via=draft.via,
            body=dump_body(draft.body),
            member=draft.signature,
        )

    def _follow(self, state: GovernanceState) -> GovernanceState:
        """The state moved on by all events after it; the same object where there are none."""
        moved = state
        while True:
            key = event_key(moved.number + 1)
            try:
                data = self._store.get(key)
            except NotInStoreError:
                return moved
            if moved is state:
                moved = state.copy()
            apply_event(moved, parse_event(data, key), compute_event_digest(data), key)

    def _find_newest(self, known: GovernanceState | None) -> str:
        """The key of the newest event, by a look at all keys behind the last known one; empty where there is none."""
        keys = (entry.key for entry in self._store.list(LEDGER.path, event_key(known.number) if known else ""))
        return max(filter(is_event_key, keys), default="")


_LEDGERS: weakref.WeakKeyDictionary[Store, Ledger] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def open_ledger(store: Store) -> Ledger:
    """The ledger of a store, with what this process has read of it."""
    with _LOCK:
        return _LEDGERS.setdefault(store, Ledger(store))


def _check_newest(state: GovernanceState, store: Store) -> None:
    """Raises LedgerError: the newest event has no valid signature of a key that the ledger knows."""
    key = event_key(state.number)
    event = parse_event(store.get(key), key)
    known = state.service_keys.get(event.signatures.service.key)
    if known is None or not is_signature_valid(event.signatures.service, bytes.fromhex(known.public), event.signed_bytes()):
        cure = "somebody wrote into the ledger: run `audiotune ledger verify`, and take out what it names"
        raise LedgerError(f"event {state.number} is not signed by the service", where=key, cure=cure)


def read_event(store: Store, number: int) -> LedgerEvent:
    """An event. Raises NotInStoreError, LedgerError."""
    return parse_event(store.get(event_key(number)), event_key(number))
