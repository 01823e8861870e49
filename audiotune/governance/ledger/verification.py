"""Checks a ledger from its first event: what a member can do alone, with the events and a digest of the newest one they once saw.

An event's hash of its predecessor makes the service's signature of an event also one of all events before it. So of the service's
signatures only the last one of each key is checked at first, and all of them where it is not valid, to name the event. Members' own
signatures are all checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from audiotune.domain.recording import Digest
from audiotune.errors import LedgerError
from audiotune.governance.ledger.events import (
    FIRST,
    LedgerEvent,
    MemberSignature,
    build_statement,
    compute_event_digest,
    event_key,
    is_canonical,
    is_event_key,
    is_signature_valid,
    parse_event,
)
from audiotune.governance.ledger.fold import apply_event
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.layout import LEDGER
from audiotune.store.port import Store

_WORDS = {
    "sign_in": "on the word of a sign-in",
    "command": "on the word of an operator's command",
    "service": "by the service itself",
    "import": "taken over from earlier records",
}


@dataclass
class _Progress:
    """What a verification keeps while it follows the events.

    Attributes:
        run: events that one key of the service signed in a row, as they are stored: a hundred thousand parsed ones would be ten times
            as large, and slow down everything else.
    """

    report: LedgerReport
    state: GovernanceState = field(default_factory=GovernanceState)
    digests: set[Digest] = field(default_factory=set)
    run: list[bytes] = field(default_factory=list)
    public: str = ""


@dataclass
class LedgerReport:
    """What a verification found.

    Attributes:
        number, head: of the newest event that was checked; its digest.
        faults: what must not be: sentences that name the event.
        notices: what a careful member asks about: keys that introduced themselves, events that broke a rule.
        vouched: who vouches for the events -> how many.
    """

    number: int = 0
    head: Digest = FIRST
    faults: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    vouched: Counter[str] = field(default_factory=Counter)

    @property
    def is_sound(self) -> bool:
        return not self.faults


def read_events(store: Store) -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of everything under the ledger's prefix, in the order of keys."""
    for entry in store.list(LEDGER.path):
        yield entry.key, store.get(entry.key)


def verify_events(events: Iterable[tuple[str, bytes]], seen: Digest = "") -> LedgerReport:
    """Checks numbers, the chain of hashes, the canonical form, and the signatures.

    Args:
        events: (key, bytes), in the order of their keys.
        seen: digest of an event that somebody saw as the newest one.
    """
    at = _Progress(LedgerReport())
    for key, data in events:
        if not _follow_event(at, key, data):
            break
    _close_run(at)
    report, state = at.report, at.state
    if seen and seen not in at.digests:
        report.faults.append(f"the event {seen[:16]}… that was once seen is not in it: the ledger was cut or written anew")
    report.notices += [
        f"event {key.number}: the service's key {id} introduced itself" + (", as the first one does" if key.number == 1 else "")
        for id, key in state.service_keys.items()
        if key.introduced_by == id
    ]
    report.notices += [f"event {number} changed nothing, because it broke a rule: {why}" for number, why in state.rejected]
    return report


def _follow_event(at: _Progress, key: str, data: bytes) -> bool:
    """Checks one event. False when nothing behind it can be trusted."""
    report, number = at.report, at.report.number + 1
    if not is_event_key(key):
        report.faults.append(f"{key} belongs to no event: take it away")
        return True
    if key != event_key(number):
        report.faults.append(f"event {number} is missing: the ledger was cut")
        return False
    try:
        if not is_canonical(data):
            raise LedgerError("it is not in its canonical form: something else wrote it")
        event = parse_event(data, key)
        _check_service_key(at, event, data)
        if event.signatures.member:
            _check_member(at, event, event.signatures.member)
        apply_event(at.state, event, compute_event_digest(data), key)
    except LedgerError as e:
        report.faults.append(f"event {number}: {e.what}")
        return False
    at.digests.add(at.state.head)
    report.vouched[name_voucher(event)] += 1
    report.number, report.head = at.state.number, at.state.head
    return True


def _check_service_key(at: _Progress, event: LedgerEvent, data: bytes) -> None:
    """Adds the event to the run of its key. Raises LedgerError: a key that nobody introduced."""
    id = event.signatures.service.key
    known = at.state.service_keys.get(id)
    opens = event.kind in ("ledger_opened", "service_key_added")
    public = known.public if known else str(event.body.get("key", "")) if opens else ""
    if not public:
        raise LedgerError(f"it is signed by the key {id}, which nobody introduced")
    if public != at.public:
        _close_run(at)
        at.public = public
    at.run.append(data)


def _close_run(at: _Progress) -> None:
    """Checks the last signature of a run; where it is not valid, finds the first event of the run that is not signed."""
    public = bytes.fromhex(at.public)
    if at.run and not _is_signed(parse_event(at.run[-1], ""), public):
        first = next(event for data in at.run if not _is_signed(event := parse_event(data, ""), public))
        at.report.faults.append(f"event {first.number} is not signed by the service: it was written by somebody else")
    at.run.clear()


def _is_signed(event: LedgerEvent, public: bytes) -> bool:
    return is_signature_valid(event.signatures.service, public, event.signed_bytes())


def _check_member(at: _Progress, event: LedgerEvent, signature: MemberSignature) -> None:
    """Raises LedgerError: the signature is not the member's, or over another ledger."""
    key = at.state.member_keys.get(signature.key)
    if key is None or key.member != event.by or key.revoked:
        raise LedgerError(f"it is signed by the key {signature.key}, which is no key of {event.by} that counts")
    if signature.head != FIRST and signature.head not in at.digests:
        raise LedgerError(f"{event.by} signed it over an event that is not in this ledger")
    statement = build_statement(event.kind, event.by, event.body, signature.head)
    if not is_signature_valid(signature, bytes.fromhex(key.public), statement):
        raise LedgerError(f"it is not signed by {event.by}, though it says so")


def name_voucher(event: LedgerEvent) -> str:
    """Who vouches for an event: its member's own key, or the service on somebody's word."""
    if event.signatures.member:
        return f"signed by {event.by}"
    return _WORDS.get(event.via, event.via) + (f" of {event.by}" if event.via == "sign_in" and event.by else "")
