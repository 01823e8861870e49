"""The account page: a member's password and tokens and, for owners, all accounts. Shown only where members sign in.

Where members sign in at a provider there are no passwords; owners link identities at the provider to members instead.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from audiotune.access import accounts, identities, tokens
from audiotune.access.owners import is_owner
from audiotune.access.tokens import Token
from audiotune.errors import AudioTuneError
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import render_message, render_table
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_account, find_ticket, read_session_cookie
from services.studio.sign_in.credentials import LABEL

_LIVES = [("30 days", 30), ("90 days", 90), ("a year", 365)]


def build_account_page(context: StudioContext) -> PageRefresh:
    if not context.uses_provider:
        _build_password_form(context)
    own_tokens, token_choice = _build_token_form(context)
    listed = gr.HTML(elem_id="at-accounts")
    with gr.Column(visible=False) as owners:
        choice = _build_identity_form(context, listed) if context.uses_provider else _build_account_form(context, listed)

    def load_values(member: str) -> tuple[Any, ...]:
        try:
            for_owners = gr.Column(visible=is_owner(context.store, member))
            return (*_show_tokens(context, member), *_show_accounts(context, member), for_owners)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip(), gr.skip(), gr.skip()

    return PageRefresh(load_values, [own_tokens, token_choice, listed, choice, owners], by_account=True)


def _build_password_form(context: StudioContext) -> None:
    gr.HTML(tag("h2", "Password"))
    with gr.Row():
        old = gr.Textbox(label="Password now", type="password", elem_id="at-password-now")
        new = gr.Textbox(label="New password, at least 10 characters", type="password", elem_id="at-password-new")
    change, news = gr.Button("Change it", elem_id="at-password-change"), gr.HTML(elem_id="at-password-news")

    def on_change(old: str, new: str, request: gr.Request) -> tuple[Any, str, str]:
        try:
            changed = context.access.change_password(find_ticket(context, request), old, new)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), "", ""
        context.sessions.renew(read_session_cookie(request), changed.account.password, changed.ticket)
        return render_message("Changed. You stay signed in here; everywhere else you are signed out.", "good"), "", ""

    change.click(on_change, [old, new], [news, old, new])


def _build_token_form(context: StudioContext) -> tuple[gr.HTML, gr.Dropdown]:
    words = "A token lets a program or plug-in ask the generation service in your name. Treat it like a password."
    gr.HTML(join_markup(tag("h2", "Tokens"), tag("p", words, class_="at-intro")))
    own_tokens = gr.HTML(elem_id="at-tokens")
    with gr.Row():
        purpose = gr.Textbox(label="What for", placeholder="sampler plug-in", max_length=80, elem_id="at-token-for")
        life = gr.Dropdown(_LIVES, value=90, label="Lives")
    make = gr.Button("Make a token", elem_id="at-token-make")
    news = gr.HTML(elem_id="at-token-news")
    token_choice = gr.Dropdown([], label="End a token")
    end = gr.Button("End it", elem_id="at-token-end")

    def on_make(purpose: str, days: int, request: gr.Request) -> tuple[Any, Any, Any]:
        member = find_account(context, request)
        try:
            text = context.access.issue_token(find_ticket(context, request), ("generate",), days, purpose.strip())
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip()
        return _render_secret("Copy it now; it is not shown again.", text), *_show_tokens(context, member)

    def on_end(id: str | None, request: gr.Request) -> tuple[Any, Any, Any]:
        member = find_account(context, request)
        try:
            context.access.revoke_token(find_ticket(context, request), str(id))
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip()
        return render_message("Ended; services notice within two seconds.", "good"), *_show_tokens(context, member)

    make.click(on_make, [purpose, life], [news, own_tokens, token_choice])
    end.click(on_end, [token_choice], [news, own_tokens, token_choice])
    return own_tokens, token_choice


def _build_account_form(context: StudioContext, listed: gr.HTML) -> gr.Dropdown:
    """The form in which owners create accounts."""
    choice = gr.Dropdown([], label="Member", elem_id="at-account-of")
    make = gr.Button("New account or new password", elem_id="at-account-make")
    news = gr.HTML(elem_id="at-account-news")

    def on_make(member: str | None, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = find_account(context, request)
        try:
            password = context.access.issue_password(find_ticket(context, request), member or "")
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip()
        return _render_secret(f"Give {member} this password; it is not shown again.", password), *_show_accounts(context, owner)

    make.click(on_make, [choice], [news, listed, choice])
    return choice


def _build_identity_form(context: StudioContext, listed: gr.HTML) -> gr.Dropdown:
    """The form in which owners link identities at the provider to members."""
    choice = gr.Dropdown([], label="Member", elem_id="at-account-of")
    label = f"What the provider calls them (its claim {context.settings.oidc_member_claim})"
    identity = gr.Textbox(label=label, max_length=identities.LONGEST, elem_id="at-identity")
    with gr.Row():
        add = gr.Button("This is the member", elem_id="at-identity-add")
        remove = gr.Button("Forget it", elem_id="at-identity-remove")
    news = gr.HTML(elem_id="at-account-news")

    def on_add(member: str | None, identity: str, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = find_account(context, request)
        try:
            context.access.add_identity(find_ticket(context, request), member or "", identity)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip()
        return render_message(f"{identity.strip()} is {member} from now on.", "good"), *_show_accounts(context, owner)

    def on_remove(identity: str, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = find_account(context, request)
        try:
            context.access.remove_identity(find_ticket(context, request), identity)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip(), gr.skip()
        return render_message("Forgotten; their session ends within seconds.", "good"), *_show_accounts(context, owner)

    add.click(on_add, [choice, identity], [news, listed, choice])
    remove.click(on_remove, [identity], [news, listed, choice])
    return choice


def _show_accounts(context: StudioContext, member: str) -> tuple[Any, Any]:
    """The table of accounts or identities and the choice, for owners; nothing for others."""
    if not is_owner(context.store, member):
        return Markup(), gr.Dropdown(choices=[])
    members = context.require_agreement().members
    choice = gr.Dropdown(choices=[(m.name, m.id) for m in members])
    rows: list[tuple[str, ...]]
    if context.uses_provider:
        known = identities.list_identities(context.store)
        linked = {m.id: ", ".join(one.identity for one in known if one.member == m.id) for m in members}
        rows = [(m.name, linked[m.id] or "cannot sign in yet") for m in members]
        return join_markup(tag("h2", "Who is who at the provider"), render_table(("Member", "Known as"), rows)), choice
    facts = {account.member: (account.role, f"{account.changed:%d %b %Y}") for account in accounts.list_accounts(context.store)}
    rows = [(m.name, *facts.get(m.id, ("no account", ""))) for m in members]
    return join_markup(tag("h2", "Members' accounts"), render_table(("Member", "Account", "Password since"), rows)), choice


def _show_tokens(context: StudioContext, member: str) -> tuple[Markup, Any]:
    """The member's tokens as a table, and the choice of those that can be ended."""
    own = _list_own_tokens(context, member)
    choice = gr.Dropdown(choices=[(f"{t.label or 'no words'} ({t.id})", t.id) for t in own], value=None)
    if not own:
        return tag("p", "You have no tokens."), choice
    rows = [(t.label or "no words", t.id, f"{t.made:%d %b %Y}", f"{t.expires:%d %b %Y}" if t.expires else "never") for t in own]
    return render_table(("For", "Id", "Made", "Ends"), rows), choice


def _list_own_tokens(context: StudioContext, member: str) -> list[Token]:
    """The member's valid tokens, without those that the studio itself uses."""
    return [t for t in tokens.list_tokens(context.store) if t.member == member and not t.revoked and t.label != LABEL]


def _render_secret(words: str, secret: str) -> Markup:
    return join_markup(render_message(words, "good"), tag("pre", tag("code", secret), class_="at-secret"))
