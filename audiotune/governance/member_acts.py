"""What members and owners do becomes events of the ledger, all by this one way. The rules stand in each kind's `apply`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import ForbiddenError, GovernanceError
from audiotune.governance.decisions import close_decided_proposals
from audiotune.governance.ledger.event_draft import EventDraft, dump_body
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import (
    MemberSignature,
    Via,
    build_statement,
    canonicalize,
    encode_signature,
    event_key,
    is_signature_valid,
    parse_event,
)
from audiotune.governance.ledger.fold import KINDS
from audiotune.governance.ledger.keys import SigningKey
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.port import Store

MOST_BYTES = 200_000  # of an act's canonical body
_LOOKED_BACK = 200  # events among which the one is that a member saw when they signed


def require_act(kind: str) -> EventKind:
    """The kind. Raises ForbiddenError: it is not known, or nothing that a person says."""
    found = KINDS.get(kind)
    if found is None or found.said_by == "service":
        raise ForbiddenError(f"{kind[:40]!r} is no act of a member", cure="use what the studio offers")
    return found


def parse_act(kind: str, body: Mapping[str, Any]) -> FrozenModel:
    """The body of an act. Raises ForbiddenError: no act of a member. Raises GovernanceError: it does not fit its kind, or is too large."""
    found = require_act(kind)
    try:
        parsed = found.body.model_validate(body)
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "body"
        raise GovernanceError(f"{where} does not fit: {fault['msg']}", where=kind, cure="mend it and try again") from e
    if len(canonicalize(dump_body(parsed))) > MOST_BYTES:
        raise GovernanceError("this is too long for one event", where=kind, cure=f"say it in parts of {MOST_BYTES // 1000} kB")
    return parsed


def append_member_event(
    store: Store,
    by: str,
    kind: str,
    body: Mapping[str, Any],
    *,
    via: Via = "sign_in",
    signature: MemberSignature | None = None,
) -> int:
    """Appends a member's act; the event's number. Closes what a vote decides.

    Args:
        by: the member. Who they are was checked before, unless `via` is `command`: an operator, or a studio where nobody signs in.
        signature: of the member's own key, over the body as `parse_act` and `dump_body` give it.

    Raises GovernanceError: a rule forbids it, or the signature is not the member's.
    """
    parsed = parse_act(kind, body)

    def draft_event(state: GovernanceState) -> EventDraft:
        if signature:
            _require_signature(store, state, signature, build_statement(kind, by, dump_body(parsed), signature.head), by)
        return EventDraft(kind, parsed, by, via, signature)

    event = open_ledger(store).append(draft_event)
    assert event is not None
    if kind == "vote_cast":
        close_decided_proposals(store)
    return event.number


def sign_act(store: Store, key: SigningKey, kind: str, by: str, body: Mapping[str, Any]) -> MemberSignature:
    """The signature of a member's own key over an act of theirs, and over the newest event of this store."""
    head = open_ledger(store).read_state().head
    statement = build_statement(kind, by, dump_body(parse_act(kind, body)), head)
    return MemberSignature(key=key.id, value=encode_signature(key.sign(statement)), head=head)


def _require_signature(store: Store, state: GovernanceState, signature: MemberSignature, statement: bytes, by: str) -> None:
    """Raises GovernanceError where `verify_events` would name the event: a wrong signature must not get into the ledger."""
    key = state.member_keys.get(signature.key)
    if key is None or key.member != by or key.revoked:
        what = f"{signature.key} is no key of {by} that counts"
        raise GovernanceError(what, cure="say it without a key, or register a new one")
    if not is_signature_valid(signature, bytes.fromhex(key.public), statement):
        raise GovernanceError("the signature does not fit what was said", cure="load the page again and repeat it")
    if not _is_recent(store, state, signature.head):
        what = "you signed over an event that is not among the newest of this ledger"
        raise GovernanceError(what, cure="load the page again; if it says so again, run `audiotune ledger verify`")


def _is_recent(store: Store, state: GovernanceState, head: Digest) -> bool:
    """Whether an event of this digest is among the newest."""
    number, digest = state.number, state.head
    for _ in range(_LOOKED_BACK):
        if digest == head:
            return True
        if number == 0:
            break
        key = event_key(number)
        number, digest = number - 1, parse_event(store.get(key), key).previous
    return False
