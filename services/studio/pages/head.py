"""The bar on top: the group, and who is listening: the member signed in, or where no sign-in is asked the one chosen."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.requests import Request

from audiotune.governance import Agreement, current_agreement
from services.studio.desk import Desk
from services.studio.doorkeeper import is_owner
from services.studio.sessions import COOKIE, COOKIE_OF_HOST, WHO
from services.studio.theme import script


def who(desk: Desk, chosen: str, request: gr.Request | None = None) -> str:
    """The member who acts: the one signed in when there is a sign-in, else the one chosen; "" for nobody of the group."""
    return desk.acting(signed_in(request), chosen)


def anybody(desk: Desk, chosen: str, request: gr.Request | None = None) -> str:
    """Like `who`, and also somebody who has left: they may look and take their data away, nothing else."""
    return desk.present(signed_in(request), chosen)


def account(desk: Desk, request: gr.Request | Request | None) -> str:
    """The account that signed in, also one that the agreement does not name; "" where nobody signs in."""
    return (signed_in(request) or "") if desk.signs_in else ""


def signed_in(request: gr.Request | Request | None) -> str | None:
    """Who came in through the door.

    An event's request carries the name; a widget's function is given the bare request, which does not (seen on Gradio 6.31).
    """
    if request is None:
        return None
    if isinstance(request, gr.Request):  # its other attributes are copies by way of JSON, which a scope does not survive
        return request.username
    return str(request.scope[WHO]) if request.scope.get(WHO) else None


def session(request: gr.Request) -> str:
    """The text in this browser's cookie; "" for none."""
    cookies = request.request.cookies if request.request else {}
    return cookies.get(COOKIE_OF_HOST) or cookies.get(COOKIE) or ""


def value(desk: Desk, member: str, account: str = "") -> dict[str, Any]:
    """What the bar shows. `account`: who signed in, which may be nobody of the group."""
    agreement = current_agreement(desk.store)
    return {
        "group": agreement.group if agreement else "",
        "members": [(m.id, f"{m.name} (left)" if m.left else m.name) for m in agreement.members] if agreement else [],
        "member": member,
        "signed_in": desk.signs_in,
        "account": account,
        "notice": "" if member or not account else _notice(account, agreement, is_owner(desk.store, account)),
    }


def _notice(account: str, agreement: Agreement | None, owner: bool) -> str:
    """For an account that is nobody of the group: what it may do, and how that changes."""
    may = f"you may look{' and make accounts' if owner else ''}, nothing else"
    named = f'a member with id = "{account}"'
    if agreement is None:
        who = "Fill in" if owner else "An owner fills in"
        return f"The store holds no agreement yet: {may}. {who} agreement.toml with {named}; the first ingest puts it in force."
    who = "Add" if owner else "Ask an owner to add"
    return f"The agreement does not name {account}: {may}. {who} {named} to agreement.toml; the next ingest with it puts it in force."


def build(desk: Desk) -> gr.HTML:
    return gr.HTML(
        value(desk, ""),
        html_template='<header class="at-head"></header>',
        js_on_load=script("dom.js", "head_bar.js"),
        apply_default_css=False,
        elem_id="at-head",
    )
