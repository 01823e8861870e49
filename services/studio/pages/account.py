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
from services.studio.pages.notice_address import NoticeAddressForm

_TOKENS_WORDS = "Whoever knew the old password may have made one. Programs and plug-ins then need new ones."
_LIVES = [("30 days", 30), ("90 days", 90), ("a year", 365)]


def build_account_page(context: StudioContext) -> PageRefresh:
    password_form = None if context.uses_provider else _PasswordForm()
    own_tokens, token_choice = _build_token_form(context)
    if password_form:
        password_form.connect(context, own_tokens, token_choice)
    notices = NoticeAddressForm(context)
    listed = gr.HTML(elem_id="at-accounts")
    with gr.Column(visible=False) as owners:
        choice = _build_identity_form(context, listed) if context.uses_provider else _build_account_form(context, listed)

    def load_values(member: str) -> tuple[Any, ...]:
        try:
            for_owners = gr.Column(visible=is_owner(context.store, member))
            shown = (*_show_tokens(context, member), *_show_accounts(context, member), for_owners)
            return (*shown, *notices.load_values(member))
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), *(gr.skip() for _ in outputs[1:])

    outputs = [own_tokens, token_choice, listed, choice, owners, *notices.outputs]
    return PageRefresh(load_values, outputs, by_account=True)


class _PasswordForm:
    """The form for the member's own password. It stands above the tokens, which it can end."""

    def __init__(self) -> None:
        gr.HTML(tag("h2", "Password"))
        with gr.Row():
            self._old = gr.Textbox(label="Password now", type="password", elem_id="at-password-now")
            self._new = gr.Textbox(label="New password, at least 10 characters", type="password", elem_id="at-password-new")
        self._end_tokens = gr.Checkbox(True, label="End my tokens, too", info=_TOKENS_WORDS, elem_id="at-password-tokens")
        self._change, self._news = gr.Button("Change it", elem_id="at-password-change"), gr.HTML(elem_id="at-password-news")

    def connect(self, context: StudioContext, own_tokens: gr.HTML, token_choice: gr.Dropdown) -> None:
        def on_change(old: str, new: str, end_tokens: bool, request: gr.Request) -> tuple[Any, str, str, Any, Any]:
            member, session = find_account(context, request), read_session_cookie(request)
            try:
                changed = context.passwords.change_password(
                    member, find_ticket(context, request), old, new, keep_tokens=not end_tokens, session=session
                )
            except AudioTuneError as e:
                return render_message(f"{e}.", "bad"), "", "", gr.skip(), gr.skip()
            context.sessions.renew(session, changed.account.password, changed.ticket)
            words = "Changed. You stay signed in here; everywhere else you are signed out."
            ended = " Your tokens have ended." if end_tokens else ""
            return render_message(words + ended, "good"), "", "", *_show_tokens(context, member)

        outputs = [self._news, self._old, self._new, own_tokens, token_choice]
        self._change.click(on_change, [self._old, self._new, self._end_tokens], outputs, api_visibility="private")


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

    make.click(on_make, [purpose, life], [news, own_tokens, token_choice], api_visibility="private")
    end.click(on_end, [token_choice], [news, own_tokens, token_choice], api_visibility="private")
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

    make.click(on_make, [choice], [news, listed, choice], api_visibility="private")
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

    add.click(on_add, [choice, identity], [news, listed, choice], api_visibility="private")
    remove.click(on_remove, [identity], [news, listed, choice], api_visibility="private")
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
    """All valid tokens of the member as a table, whoever made them, and the choice of one to end."""
    own = [token for token in tokens.list_tokens(context.store) if token.member == member and token.is_valid()]
    used_here = context.service_tokens.find_id(member)
    choice = gr.Dropdown(choices=[(f"{_name_token(t, used_here)} ({t.id})", t.id) for t in own], value=None)
    if not own:
        return tag("p", "You have no tokens."), choice
    rows = [
        (_name_token(t, used_here), t.id, f"{t.made:%d %b %Y}", f"{t.expires:%d %b %Y}" if t.expires else "never") for t in own
    ]
    return render_table(("For", "Id", "Made", "Ends"), rows), choice


def _name_token(token: Token, used_here: str) -> str:
    """What it is for. Only the token that the studio itself uses now is marked: anybody may give a token any words."""
    return "this studio, for the sounds you ask for here" if token.id == used_here else token.label or "no words"


def _render_secret(words: str, secret: str) -> Markup:
    return join_markup(render_message(words, "good"), tag("pre", tag("code", secret), class_="at-secret"))
