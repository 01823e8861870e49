"""What a browser asks that remembers the newest event of the ledger that it saw. The script is widgets/ledger_head.js."""

from __future__ import annotations

from audiotune.errors import AccessError
from audiotune.governance.ledger.events import compute_event_digest, event_key
from audiotune.governance.ledger.ledger import open_ledger
from services.studio.context import StudioContext
from services.studio.pages.server_functions import Payload, ServerFunction, create_server_function

_AT_ONCE = 100  # events in one answer


def create_event_list(context: StudioContext) -> ServerFunction:
    """Lists events as they are stored: those from number `from` on; the newest one for 0."""

    def list_events(member: str, payload: Payload) -> Payload:
        if not member:
            raise AccessError("only members read the ledger", cure="sign in, or choose who you are")
        newest = open_ledger(context.store).read_state().number
        first = int(payload.get("from") or 0) or newest
        last = min(newest, first + _AT_ONCE - 1)
        stored = [(number, context.store.get(event_key(number))) for number in range(max(1, first), last + 1)]
        events = [{"number": number, "text": data.decode(), "digest": compute_event_digest(data)} for number, data in stored]
        return {"events": events, "more": last < newest}

    return create_server_function(context, list_events)
