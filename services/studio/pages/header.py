"""The header of every page: the group, and the member who signed in or, without sign-in, was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.requests import Request

from audiotune.access.owners import is_owner
from audiotune.errors import GovernanceError
from audiotune.governance import Agreement, read_current_agreement
from services.studio.context import StudioContext
from services.studio.sign_in.session_store import COOKIE, COOKIE_OF_HOST, COOKIE_OF_PATH, MEMBER_SCOPE_KEY
from services.studio.theme import build_widget


def find_acting_member(context: StudioContext, chosen: str, request: gr.Request | None = None) -> str:
    """The acting member: the one signed in where sign-in is required, otherwise the one chosen; "" outside the group."""
    return context.find_active_member(read_signed_in(request), chosen)


def find_present_member(context: StudioContext, chosen: str, request: gr.Request | Request | None = None) -> str:
    """Like `find_acting_member`, also for a member who has left: they may look and export their data, nothing else."""
    return context.find_member(read_signed_in(request), chosen)


def find_account(context: StudioContext, request: gr.Request | Request | None) -> str:
    """The account that signed in, also one that the agreement does not name; "" where no sign-in is required."""
    return (read_signed_in(request) or "") if context.requires_sign_in else ""


def read_signed_in(request: gr.Request | Request | None) -> str | None:
    """The signed-in member; None without sign-in.

    An event's request carries the name. A widget's function gets the plain request, which does not (seen on Gradio 6.31).
    """
    if request is None:
        return None
    if isinstance(request, gr.Request):  # its other attributes are copies made through JSON, which drops the scope
        return request.username
    return str(request.scope[MEMBER_SCOPE_KEY]) if request.scope.get(MEMBER_SCOPE_KEY) else None


def read_session_cookie(request: gr.Request | Request) -> str:
    """The value of this browser's session cookie; "" for none."""
    plain = request.request if isinstance(request, gr.Request) else request
    cookies = plain.cookies if plain else {}
    return next((cookies[name] for name in (COOKIE_OF_HOST, COOKIE_OF_PATH, COOKIE) if cookies.get(name)), "")


def find_ticket(context: StudioContext, request: gr.Request | Request) -> str:
    """The ticket of this browser's session, with which its member's own writes are asked for."""
    return context.sessions.find_ticket(read_session_cookie(request))


def build_header_value(context: StudioContext, member: str, account: str = "") -> dict[str, Any]:
    """The values that the header shows. `account`: who signed in, perhaps somebody outside the group."""
    try:
        agreement, damage = read_current_agreement(context.store), ""
    except GovernanceError as e:  # nobody can act, and everybody sees why
        agreement, damage = None, f"{e}."
    notice = "" if member or not account else _write_notice(account, agreement, is_owner(context.store, account))
    return {
        "group": agreement.group if agreement else "",
        "members": [(m.id, f"{m.name} (left)" if m.left else m.name) for m in agreement.members] if agreement else [],
        "member": member,
        "signed_in": context.requires_sign_in,
        "account": account,
        "notice": damage or notice,
    }


def _write_notice(account: str, agreement: Agreement | None, owner: bool) -> str:
    """The notice for an account that the agreement does not name: what it may do, and how to change that."""
    may = f"you may look{' and make accounts' if owner else ''}, nothing else"
    named = f'a member with id = "{account}"'
    if agreement is None:
        action = "Make" if owner else "An owner makes"
        return f"The store holds no agreement yet: {may}. {action} it on the Agreement page, with {named}."
    action = "Add" if owner else "Ask the group to add"
    return f"The agreement does not name {account}: {may}. {action} {named} on the Agreement page."


def build_header(context: StudioContext, *functions: Callable[..., Any]) -> gr.HTML:
    """The widget. `functions`: what its script calls; see pages/ledger_head.py and pages/matters.py."""
    element, scripts = '<header class="at-header"></header>', ("signing.js", "ledger_head.js", "header.js")
    return build_widget("at-header", element, build_header_value(context, ""), *scripts, functions=functions)
