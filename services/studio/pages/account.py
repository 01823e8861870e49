"""Account: one's password, one's tokens for programs and plug-ins, and, for owners, the others' accounts. Only where members sign in.

Where they sign in at a provider there are no passwords; owners say there who somebody of the provider is.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from audiotune.access import accounts, identities, tokens
from audiotune.access.tokens import Token
from audiotune.errors import AccessError, AudioTuneError
from services.studio.desk import Desk
from services.studio.doorkeeper import LABEL, forget_who, is_owner, new_password, say_who
from services.studio.markup import Markup, joined, say, table, tag
from services.studio.pages import Arrival
from services.studio.pages.head import account, anybody, session

_LIVES = [("30 days", 30), ("90 days", 90), ("a year", 365)]


def build(desk: Desk) -> Arrival:
    if not desk.signs_in_elsewhere:
        _password(desk)
    kept, which = _tokens(desk)
    people = gr.HTML(elem_id="at-accounts")
    with gr.Column(visible=False) as owners:
        whose = _identities(desk, people) if desk.signs_in_elsewhere else _others(desk, people)

    def arrive(member: str) -> tuple[Any, ...]:
        try:
            mine, ends = _listed(desk, member)
            shown = gr.Column(visible=is_owner(desk.store, member))
            return (mine, gr.Dropdown(choices=ends, value=None), *_people(desk, member), shown)
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip(), gr.skip(), gr.skip()

    return Arrival(arrive, [kept, which, people, whose, owners], by_account=True)


def _password(desk: Desk) -> None:
    gr.HTML(tag("h2", "Password"))
    with gr.Row():
        old = gr.Textbox(label="Password now", type="password", elem_id="at-password-now")
        new = gr.Textbox(label="New password, at least 10 characters", type="password", elem_id="at-password-new")
    change, news = gr.Button("Change it", elem_id="at-password-change"), gr.HTML(elem_id="at-password-news")

    def on_change(old: str, new: str, request: gr.Request) -> tuple[Any, str, str]:
        member = account(desk, request)
        try:
            if accounts.verify(desk.store, member, old) is None:
                raise AccessError("the password now is not right", cure="type it again")
            changed = accounts.change(desk.store, member, new)
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), "", ""
        desk.sessions.renew(session(request), changed.password)
        return say("Changed. You stay signed in here; everywhere else you are signed out.", "good"), "", ""

    change.click(on_change, [old, new], [news, old, new])


def _tokens(desk: Desk) -> tuple[gr.HTML, gr.Dropdown]:
    words = "A token lets a program or plug-in ask the generation service in your name. Treat it like a password."
    gr.HTML(joined(tag("h2", "Tokens"), tag("p", words, class_="at-lead")))
    kept = gr.HTML(elem_id="at-tokens")
    with gr.Row():
        purpose = gr.Textbox(label="What for", placeholder="sampler plug-in", max_length=80, elem_id="at-token-for")
        life = gr.Dropdown(_LIVES, value=90, label="Lives")
    make = gr.Button("Make a token", elem_id="at-token-make")
    news = gr.HTML(elem_id="at-token-news")
    which = gr.Dropdown([], label="End a token")
    end = gr.Button("End it", elem_id="at-token-end")

    def on_make(purpose: str, days: int, request: gr.Request) -> tuple[Any, Any, Any]:
        member = account(desk, request)
        try:
            _require(anybody(desk, "", request))
            text = tokens.issue(desk.store, member, ("generate",), days, label=purpose.strip())
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip()
        return _once("Copy it now; it is not shown again.", text), *_both(_listed(desk, member))

    def on_end(id: str | None, request: gr.Request) -> tuple[Any, Any, Any]:
        member = account(desk, request)
        try:
            if id not in {token.id for token in _mine(desk, member)}:
                raise AccessError("choose one of your tokens", cure="it may have ended already")
            tokens.revoke(desk.store, str(id))
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip()
        return say("Ended; services notice within two seconds.", "good"), *_both(_listed(desk, member))

    make.click(on_make, [purpose, life], [news, kept, which])
    end.click(on_end, [which], [news, kept, which])
    return kept, which


def _others(desk: Desk, people: gr.HTML) -> gr.Dropdown:
    """Accounts of others; for owners."""
    whose = gr.Dropdown([], label="Member", elem_id="at-account-of")
    make = gr.Button("New account or new password", elem_id="at-account-make")
    news = gr.HTML(elem_id="at-account-news")

    def on_make(member: str | None, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = account(desk, request)
        try:
            password = new_password(desk.store, desk.agreement(), owner, member or "")
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip()
        return _once(f"Give {member} this password; it is not shown again.", password), *_people(desk, owner)

    make.click(on_make, [whose], [news, people, whose])
    return whose


def _identities(desk: Desk, people: gr.HTML) -> gr.Dropdown:
    """Who somebody of the provider is here; for owners."""
    whose = gr.Dropdown([], label="Member", elem_id="at-account-of")
    label = f"What the provider calls them (its claim {desk.settings.oidc_member_claim})"
    identity = gr.Textbox(label=label, max_length=identities.LONGEST, elem_id="at-identity")
    with gr.Row():
        add = gr.Button("This is the member", elem_id="at-identity-add")
        remove = gr.Button("Forget it", elem_id="at-identity-remove")
    news = gr.HTML(elem_id="at-account-news")

    def on_add(member: str | None, identity: str, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = account(desk, request)
        try:
            say_who(desk.store, desk.agreement(), owner, member or "", identity)
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip()
        return say(f"{identity.strip()} is {member} from now on.", "good"), *_people(desk, owner)

    def on_remove(identity: str, request: gr.Request) -> tuple[Any, Any, Any]:
        owner = account(desk, request)
        try:
            forget_who(desk.store, owner, identity)
        except AudioTuneError as e:
            return say(f"{e}.", "bad"), gr.skip(), gr.skip()
        return say("Forgotten; their session ends within seconds.", "good"), *_people(desk, owner)

    add.click(on_add, [whose, identity], [news, people, whose])
    remove.click(on_remove, [identity], [news, people, whose])
    return whose


def _people(desk: Desk, member: str) -> tuple[Any, Any]:
    """The table of accounts or identities and the choice, for owners; nothing for others."""
    if not is_owner(desk.store, member):
        return Markup(), gr.Dropdown(choices=[])
    choice = gr.Dropdown(choices=[(m.name, m.id) for m in desk.agreement().members])
    if desk.signs_in_elsewhere:
        return joined(tag("h2", "Who is who at the provider"), _called(desk)), choice
    have = {each.member: each for each in accounts.listed(desk.store)}
    rows = [
        (m.name, have[m.id].role if m.id in have else "no account", f"{have[m.id].changed:%d %b %Y}" if m.id in have else "")
        for m in desk.agreement().members
    ]
    shown = joined(tag("h2", "Members' accounts"), table(("Member", "Account", "Password since"), rows))
    return shown, choice


def _called(desk: Desk) -> Markup:
    """Every member, and what the provider calls them."""
    known = identities.listed(desk.store)
    called = {m.id: ", ".join(one.identity for one in known if one.member == m.id) for m in desk.agreement().members}
    rows = [(m.name, called[m.id] or "cannot sign in yet") for m in desk.agreement().members]
    return table(("Member", "Known as"), rows)


def _listed(desk: Desk, member: str) -> tuple[Markup, list[tuple[str, str]]]:
    """The member's tokens as a table, and those that can be ended."""
    mine = _mine(desk, member)
    if not mine:
        return tag("p", "You have no tokens."), []
    rows = [(t.label or "no words", t.id, f"{t.made:%d %b %Y}", f"{t.expires:%d %b %Y}" if t.expires else "never") for t in mine]
    return table(("For", "Id", "Made", "Ends"), rows), [(f"{t.label or 'no words'} ({t.id})", t.id) for t in mine]


def _mine(desk: Desk, member: str) -> list[Token]:
    """Tokens of the member that count; not those the studio itself carries."""
    return [t for t in tokens.listed(desk.store) if t.member == member and not t.revoked and t.label != LABEL]


def _both(listed: tuple[Markup, list[tuple[str, str]]]) -> tuple[Markup, Any]:
    return listed[0], gr.Dropdown(choices=listed[1], value=None)


def _require(member: str) -> None:
    if not member:
        raise AccessError("you are no member of the agreement", cure="an owner adds you to the agreement first")


def _once(words: str, secret: str) -> Markup:
    return joined(say(words, "good"), tag("pre", tag("code", secret), class_="at-secret"))
