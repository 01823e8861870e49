"""A section of the part Leaving: a member takes back uses of their recordings, after seeing what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from audiotune.errors import AccessError, AudioTuneError
from audiotune.governance import read_current_agreement
from audiotune.governance.agreement_record import ALL_USES
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.use_texts import USE_WORDS
from audiotune.reporting.html import join_markup, tag
from audiotune.withdrawal.consent_steps import follow_withdrawals
from audiotune.withdrawal.preview import preview_withdrawal
from services.studio import withdrawals
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.member_events import Act, MemberAct, MemberActs
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_acting_member, find_present_member

CONFIRMATION = "take it back"
_LEAD = (
    "You can take back what you gave at any time: for some recordings or for all, for some uses or for every one. First look at what "
    "follows; nothing is done before you confirm it. Copies that were given away before cannot be called back."
)
_ERASURES = [
    ("keep the files, but nobody may use them", "none"),
    ("erase my recordings", "recordings"),
    ("erase my recordings and everything that was made of them", "everything_derived"),
]


def build_withdrawal_section(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    gr.HTML(join_markup(tag("h2", "Take back"), tag("p", _LEAD, class_="at-intro")))
    recordings = gr.Dropdown(
        [], multiselect=True, label="Recordings (none chosen: all of mine, also later ones)", elem_id="at-back"
    )
    choices = [(f"{use}: {words}", use) for use, words in USE_WORDS.items()]
    uses = gr.CheckboxGroup(choices, value=list(ALL_USES), label="What I take back", elem_id="at-back-uses")
    erase = gr.Radio(_ERASURES, value="none", label="The files", elem_id="at-back-erase")
    why = gr.Textbox(label="Why (the group can read it; may stay empty)", max_length=2000)
    look = gr.Button("Show what follows", elem_id="at-back-look")
    seen = gr.HTML()
    with gr.Column(visible=False) as confirm:
        typed = gr.Textbox(label=f"To do it, type: {CONFIRMATION}", elem_id="at-back-typed")
        act = gr.Button("Take it back", variant="stop", elem_id="at-back-do")
    news = gr.HTML()
    made = gr.HTML(elem_id="at-withdrawals")
    which = gr.Dropdown([], label="Train a stopped release again, without what was taken back by", elem_id="at-retrain-of")
    retrain = gr.Button("Train again", elem_id="at-retrain")
    trained = gr.HTML()

    def on_look(chosen: str, ids: Sequence[str], taken: Sequence[str], request: gr.Request) -> tuple[Any, Any]:
        try:
            member = _require_member(context, chosen, request)
            aliases = withdrawals.ServedAliases(context, member)
            preview = preview_withdrawal(context.store, aliases, member, ids or (), _read_uses(taken))
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.Column(visible=False)
        return withdrawals.render_preview(preview), gr.Column(visible=True)

    def draft(ids: Sequence[str], taken: Sequence[str], choice: str, because: str, words: str) -> Act:
        uses = list(_read_uses(taken))
        return "withdrawal_recorded", {"recordings": list(ids or ()), "uses": uses, "why": because.strip(), "erase": choice}

    def on_act(act: MemberAct, *given: Any) -> tuple[Any, ...]:
        if str(given[-1]).strip().lower() != CONFIRMATION:
            return render_message(f"Type “{CONFIRMATION}” in the box above the button; nothing was done.", "bad"), *_keep(4)
        try:
            number = act.record(*draft(*given))
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), *_keep(4)
        done = follow_withdrawals(context.store)
        said = f"Withdrawal {number} is in the ledger: every gate knows it, and what played stops within seconds."
        member = find_present_member(context, act.chosen, act.request)
        return render_message(f"{said} {done}", "good"), *_load(context, member), gr.Column(visible=False)

    def on_retrain(chosen: str, number: int | None, request: gr.Request) -> Any:
        try:
            if not number:
                raise AccessError("no withdrawal is chosen", cure="choose one above")
            release = withdrawals.start_retraining(context, find_acting_member(context, chosen, request), number)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad")
        title = f"{release.name} {release.version}"
        return render_message(f"The training of {title} begins anew. Follow it on the Releases page.", "good")

    look.click(on_look, [me, recordings, uses], [seen, confirm])
    given = [recordings, uses, erase, why, typed]
    MemberActs(context, me).connect(act, draft, on_act, given, [news, recordings, made, which, confirm])
    retrain.click(on_retrain, [me, which], [trained])
    return PageRefresh(lambda member: _load(context, member), [recordings, made, which])


def _require_member(context: StudioContext, chosen: str, request: gr.Request) -> str:
    member = find_present_member(context, chosen, request)
    if not member:
        raise AccessError("nobody is chosen", cure="choose who you are at the top of the page first")
    return member


def _read_uses(taken: Sequence[str]) -> tuple[Any, ...]:
    """The uses that are taken back. Raises AccessError: none."""
    if not taken:
        raise AccessError("no use is chosen", cure="choose what you take back")
    return tuple(use for use in ALL_USES if use in taken)


def _load(context: StudioContext, member: str) -> tuple[Any, Any, Any]:
    try:
        own = withdrawals.list_own_recordings(context, member) if member else []
        state, agreement = open_ledger(context.store).read_state(), read_current_agreement(context.store)
        numbered = withdrawals.list_choices(context.store, agreement)
    except AudioTuneError as e:
        return gr.Dropdown([]), render_message(format_sentence(e), "bad"), gr.Dropdown([])
    names = {one.id: one.name for one in agreement.members} if agreement else {}
    shown = withdrawals.render_withdrawals(state, names)
    return gr.Dropdown(own, value=[]), shown, gr.Dropdown(numbered, value=numbered[0][1] if numbered else None)


def _keep(count: int) -> tuple[Any, ...]:
    return tuple(gr.skip() for _ in range(count))
