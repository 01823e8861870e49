"""How pages record what a member does: on the word of the sign-in, or of the member chosen where nobody signs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from audiotune.errors import AccessError
from audiotune.governance.ledger.events import MemberSignature
from audiotune.governance.member_acts import append_member_event
from services.studio.context import StudioContext
from services.studio.pages.header import find_present_member, find_ticket


def record_member_event(
    context: StudioContext,
    chosen: str,
    request: gr.Request,
    kind: str,
    body: Mapping[str, Any],
    signature: MemberSignature | None = None,
) -> int:
    """The number of the event. `chosen`: the member that the page names, which counts only where nobody signs in.

    Raises AccessError: nobody is chosen, or the sign-in has ended. Raises GovernanceError: a rule forbids it.
    """
    if context.requires_sign_in:
        return context.access.record_event(find_ticket(context, request), kind, body, signature)
    member = find_present_member(context, chosen, request)
    if not member:
        raise AccessError("nobody is chosen", cure="choose who you are at the top of the page first")
    return append_member_event(
        context.store, member, kind, body, via="member_key" if signature else "command", signature=signature
    )
