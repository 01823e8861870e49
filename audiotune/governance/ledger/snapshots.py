"""Snapshots of the state: they save time and decide nothing.

Each is signed with the key that signed its event. So who can write into the store, but has no key of the service, makes none that counts.
"""

from __future__ import annotations

from audiotune.errors import NotInStoreError
from audiotune.governance.ledger.events import (
    EventSignature,
    compute_event_digest,
    encode_signature,
    event_key,
    is_signature_valid,
    parse_event,
)
from audiotune.governance.ledger.keys import SigningKey
from audiotune.governance.ledger.state import GovernanceState, dump_state, parse_state
from audiotune.store.layout import LEDGER_SNAPSHOTS
from audiotune.store.port import Store

SNAPSHOT_EVERY = 500  # events
_SNAPSHOT = LEDGER_SNAPSHOTS.compile(r"\d{10}\.json")
# Begins what is signed, so that no event's signature fits. The number is raised when the same events come to mean another state.
_SIGNED = b"snapshot of a ledger, 2\n"


def write_snapshot(store: Store, state: GovernanceState, key: SigningKey) -> None:
    """Stores a state, signed with the key that signed its newest event: the signature on the first line, the state on the second."""
    data = dump_state(state)
    signature = EventSignature(key=key.id, value=encode_signature(key.sign(_SIGNED + data)))
    store.put(LEDGER_SNAPSHOTS.key(f"{state.number:010d}.json"), signature.model_dump_json().encode() + b"\n" + data)


def read_snapshot(store: Store) -> GovernanceState:
    """The newest snapshot that counts; else the empty state. Raises LedgerError: its event cannot be read."""
    keys = [entry.key for entry in store.list(LEDGER_SNAPSHOTS.path) if is_snapshot_key(entry.key)]
    for key in reversed(keys):
        try:
            first, _, data = store.get(key).partition(b"\n")
            signature, state = EventSignature.model_validate_json(first), parse_state(data)
            if _is_vouched_for(store, signature, state, data):
                return state
        except (ValueError, NotInStoreError):
            continue  # of another version, or of a ledger that was cut
    return GovernanceState()


def is_snapshot_key(key: str) -> bool:
    return _SNAPSHOT.fullmatch(key) is not None


def _is_vouched_for(store: Store, signature: EventSignature, state: GovernanceState, data: bytes) -> bool:
    """Whether the state's event is in the store, and one key signed both."""
    key = event_key(state.number)
    stored = store.get(key)
    if compute_event_digest(stored) != state.head:
        return False
    signer = state.service_keys.get(signature.key)
    if signer is None:
        return False
    public, event = bytes.fromhex(signer.public), parse_event(stored, key)
    signed = ((signature, _SIGNED + data), (event.signatures.service, event.signed_bytes()))
    return all(is_signature_valid(by, public, what) for by, what in signed)
