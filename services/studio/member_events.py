"""How pages record what a member does: on the word of the sign-in, or of the member chosen where nobody signs in.

Where the member's browser holds a key that the ledger knows, it signs the act before it is recorded (widgets/signing.js).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError
from starlette.requests import Request

from audiotune.errors import AccessError, AudioTuneError, GovernanceError
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.events import MemberSignature
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event, parse_act
from services.studio.context import StudioContext
from services.studio.pages.header import find_present_member, find_ticket

Act = tuple[str, Mapping[str, Any]]  # the kind of event, and its body
_SIGN = "(asked) => (asked && window.audioTuneKeys ? window.audioTuneKeys.sign(asked) : null)"


def record_member_event(
    context: StudioContext,
    chosen: str,
    request: gr.Request | Request,
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


def ask_for_signature(
    context: StudioContext, chosen: str, request: gr.Request | Request, kind: str, body: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What the member's browser is to sign, and with which keys it may; None for a member without a key."""
    state = open_ledger(context.store).read_state()
    member = find_present_member(context, chosen, request)
    keys = [id for id, key in state.member_keys.items() if key.member == member and not key.revoked]
    if not keys:
        return None
    return {"kind": kind, "by": member, "body": dump_body(parse_act(kind, body)), "head": state.head, "keys": keys}


def parse_signature(given: Any) -> MemberSignature | None:
    """The signature that a browser made; None for none. Raises GovernanceError: it is no signature."""
    try:
        return MemberSignature.model_validate(given) if given else None
    except ValidationError as e:
        raise GovernanceError("your browser sent no signature", cure="load the page again and repeat it") from e


@dataclass(frozen=True)
class MemberAct:
    """Who acts on a page, and what their browser signed."""

    context: StudioContext
    chosen: str
    request: gr.Request
    signed: Any = None

    def find_member(self) -> str:
        """Who acts: signed in, or chosen."""
        return find_present_member(self.context, self.chosen, self.request)

    def record(self, kind: str, body: Mapping[str, Any]) -> int:
        """As `record_member_event`."""
        return record_member_event(self.context, self.chosen, self.request, kind, body, parse_signature(self.signed))


class MemberActs:
    """Connects buttons with acts of a member: the browser signs what is drafted, then it is recorded.

    Args:
        me: the member whom the page names.
    """

    def __init__(self, context: StudioContext, me: gr.BrowserState) -> None:
        self._context, self._me = context, me

    def connect(
        self,
        button: gr.Button,
        draft: Callable[..., Act],
        work: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> None:
        """`draft(*inputs)` says what would be recorded; `work(act, *inputs)` records the same and returns values for `outputs`."""
        signed = gr.JSON(visible=False)

        def prepare(request: gr.Request, chosen: str, *values: Any) -> dict[str, Any] | None:
            try:
                return ask_for_signature(self._context, chosen, request, *draft(*values))
            except AudioTuneError:  # `work` meets the same fault, and says it
                return None

        def record(request: gr.Request, chosen: str, given: Any, *values: Any) -> Any:
            return work(MemberAct(self._context, chosen, request, given), *values)

        asked = button.click(prepare, [self._me, *inputs], signed, api_visibility="private", show_progress="hidden")
        answered = asked.then(None, signed, signed, js=_SIGN, api_visibility="private", show_progress="hidden")
        answered.then(record, [self._me, signed, *inputs], list(outputs), api_visibility="private")
