"""A part of the agreement page: the member's own keys, and on whose word the newest events stand. The widget is widgets/keys.js."""

from typing import Any

import gradio as gr

from audiotune.governance.ledger.ledger import open_ledger, read_event
from audiotune.governance.ledger.state import MemberKey
from audiotune.governance.ledger.verification import name_voucher
from services.studio.context import StudioContext
from services.studio.member_events import record_member_event
from services.studio.pages import PageRefresh
from services.studio.pages.server_functions import Payload, create_request_function
from services.studio.theme import build_widget

_EVENTS = 20  # the newest ones, on the page


def build_keys_part(context: StudioContext) -> PageRefresh:
    calls = _KeyFunctions(context)
    works = (calls.list_keys, calls.register_key, calls.report_loss, calls.confirm_loss)
    functions = [create_request_function(context, work) for work in works]
    widget = build_widget(
        "at-keys", '<section class="at-member-keys at-card"></section>', {"member": ""}, "keys.js", functions=functions
    )
    return PageRefresh(lambda member: {"member": member}, [widget])


class _KeyFunctions:
    """The server functions of the widget."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context

    def list_keys(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """The member's keys, others' that wait for a word, and the newest events."""
        state = open_ledger(self._context.store).read_state()
        names = {one.id: one.name for one in self._context.require_agreement().members}
        keys = [(id, key) for id, key in state.member_keys.items()]
        newest = (read_event(self._context.store, number) for number in range(state.number, max(0, state.number - _EVENTS), -1))
        return {
            "keys": [_describe_key(id, key, names) for id, key in keys if key.member == member],
            "others": [
                _describe_key(id, key, names)
                for id, key in keys
                if key.lost and not key.revoked and key.member != member and member
            ],
            "events": [
                {
                    "number": str(event.number),
                    "when": event.time[:16].replace("T", " "),
                    "who": names.get(event.by, event.by) or "the service",
                    "what": event.kind.replace("_", " "),
                    "word": name_voucher(event),
                }
                for event in newest
            ],
        }

    def register_key(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        body = {"key": str(payload["key"]).lower(), "label": str(payload.get("label") or "")[:80]}
        return self._record(member, request, "member_key_registered", body)

    def report_loss(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        return self._record(member, request, "member_key_lost", {"key_id": str(payload["id"])})

    def confirm_loss(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        return self._record(member, request, "key_loss_confirmed", {"key_id": str(payload["id"])})

    def _record(self, member: str, request: gr.Request, kind: str, body: dict[str, Any]) -> Payload:
        return {"event": record_member_event(self._context, member, request, kind, body)}


def _describe_key(id: str, key: MemberKey, names: dict[str, str]) -> Payload:
    state = f"ended with event {key.revoked}" if key.revoked else "lost: waits for another member" if key.lost else "counts"
    return {
        "id": id,
        "who": names.get(key.member, key.member),
        "label": key.label,
        "state": state,
        "counts": not key.revoked,
        "lost": bool(key.lost),
    }
