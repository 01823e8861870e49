"""A part of the agreement page: what the group decides together. Proposals are opened, discussed and voted on here."""

from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError, DecisionError
from audiotune.governance import Agreement
from audiotune.governance.agreement_changes import describe_changes
from audiotune.governance.agreement_record import PROPOSAL_KINDS
from audiotune.governance.agreement_words import KIND_WORDS, describe_rule
from audiotune.governance.decisions import draft_proposal, read_proposals
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.proposal import Choice, Proposal, parse_change
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.member_events import Act, MemberAct, MemberActs
from services.studio.pages import PageRefresh

_INTRO = "The agreement says how each kind is decided. What it puts under a decision happens only when the group said yes here."
_CHANGE = "What is to be done, as in: release=audio-tune version=3"
_SHOWN = 30  # proposals on the page


def build_decisions_part(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    forms = DecisionForms(context, me)
    return PageRefresh(lambda member: forms.load_values(), forms.outputs)


class DecisionForms:
    """The forms, and what they do. `outputs` are filled by `load_values`."""

    def __init__(self, context: StudioContext, me: gr.BrowserState) -> None:
        self._context = context
        gr.HTML(join_markup(tag("h2", "Decisions"), tag("p", _INTRO, class_="at-intro")))
        self._list = gr.HTML(elem_id="at-proposals")
        self._choice = gr.Dropdown([], label="Proposal", elem_id="at-proposal")
        vote = gr.Radio([("Yes", "yes"), ("No", "no"), ("Abstain", "abstain")], label="My vote", elem_id="at-vote")
        cast = gr.Button("Vote", variant="primary", elem_id="at-vote-cast")
        words = gr.Textbox(label="Say something about it", max_length=5000, elem_id="at-proposal-comment")
        say, news = gr.Button("Say it", elem_id="at-proposal-say"), gr.HTML(elem_id="at-vote-news")
        gr.HTML(tag("h2", "Propose something"))
        kinds = [(KIND_WORDS[kind], kind) for kind in PROPOSAL_KINDS if kind != "agreement"]  # proposed by its own form
        kind = gr.Dropdown(kinds, value="other", label="What kind", elem_id="at-proposal-kind")
        title = gr.Textbox(label="In one sentence", max_length=200, elem_id="at-proposal-title")
        text = gr.Textbox(label="Why", lines=4, max_length=10_000, elem_id="at-proposal-text")
        change = gr.Textbox(label=_CHANGE, max_length=500, elem_id="at-proposal-change")
        propose, told = gr.Button("Propose it", elem_id="at-propose"), gr.HTML(elem_id="at-propose-news")
        self.outputs = [self._list, self._choice]
        acts = MemberActs(context, me)
        acts.connect(cast, self._draft_vote, self._vote, [self._choice, vote], [news, *self.outputs])
        acts.connect(say, self._draft_comment, self._comment, [self._choice, words], [news, words, *self.outputs])
        acts.connect(propose, self._draft_proposal, self._propose, [kind, title, text, change], [told, *self.outputs])

    def load_values(self) -> tuple[Any, ...]:
        """The list of proposals, and the choice among those that are open."""
        try:
            proposals = list(read_proposals(self._context.store).values())
            agreement = self._context.require_agreement()
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.skip()
        choices = [(f"{one.id}: {one.title}", one.id) for one in reversed(proposals) if not one.outcome]
        return render_proposals(proposals, agreement), gr.Dropdown(choices=choices, value=choices[0][1] if choices else None)

    def _draft_vote(self, proposal: int | None, choice: Choice | None) -> Act:
        if proposal is None or choice is None:
            raise DecisionError("choose a proposal and a vote first")
        return "vote_cast", {"proposal": proposal, "choice": choice}

    def _draft_comment(self, proposal: int | None, words: str) -> Act:
        if proposal is None or not words.strip():
            raise DecisionError("choose a proposal, and write something")
        return "proposal_commented", {"proposal": proposal, "text": words.strip()}

    def _draft_proposal(self, kind: Any, title: str, text: str, change: str) -> Act:
        if not title.strip():
            raise DecisionError("say in one sentence what you propose")
        return "proposal_opened", dump_body(draft_proposal(self._context.store, kind, title, text, parse_change(change.split())))

    def _vote(self, act: MemberAct, proposal: int | None, choice: Choice | None) -> tuple[Any, ...]:
        def work() -> str:
            act.record(*self._draft_vote(proposal, choice))
            voted = self._find_proposal(proposal or 0)
            return f"Your vote counts. The proposal is {voted.outcome}." if voted.outcome else "Your vote counts."

        return (_try(work), *self.load_values())

    def _comment(self, act: MemberAct, proposal: int | None, words: str) -> tuple[Any, ...]:
        def work() -> str:
            act.record(*self._draft_comment(proposal, words))
            return "Said."

        news = _try(work)
        return (news, "" if "Said." in news else words, *self.load_values())

    def _propose(self, act: MemberAct, kind: Any, title: str, text: str, change: str) -> tuple[Any, ...]:
        def work() -> str:
            opened = self._find_proposal(act.record(*self._draft_proposal(kind, title, text, change)))
            return f"Proposal {opened.id} is open until {opened.ends:%d %b %Y, %H:%M} UTC."

        return (_try(work), *self.load_values())

    def _find_proposal(self, number: int) -> Proposal:
        return read_proposals(self._context.store)[number]


def _try(work: Callable[[], str]) -> Markup:
    """The news of a form: what was done, or why not."""
    try:
        return render_message(work(), "good")
    except AudioTuneError as e:
        return render_message(format_sentence(e), "bad")


def render_proposals(proposals: Iterable[Proposal], agreement: Agreement) -> Markup:
    """The newest proposals as cards, those that are open first."""
    ordered = sorted(proposals, key=lambda one: (bool(one.outcome), -one.id))
    if not ordered:
        return tag("p", "Nothing was proposed yet.", class_="at-intro")
    return join_markup(*(_render_card(one, agreement) for one in ordered[:_SHOWN]))


def _render_card(one: Proposal, agreement: Agreement) -> Markup:
    names = {"": "a program", **{member.id: member.name for member in agreement.members}}
    state = "carried out" if one.executed else one.outcome or f"open until {one.ends:%d %b %Y, %H:%M} UTC"
    about = f"{one.id} · {KIND_WORDS[one.kind]} · by {names.get(one.by, one.by)} · {state}"
    votes = ", ".join(f"{names.get(who, who)} {choice}" for who, choice in sorted(one.votes.items())) or "nobody voted yet"
    facts = [("Votes", votes), ("Accepted by", describe_rule(one.rule))]
    if one.result:
        facts.append(("Then", one.result))
    if one.agreement:
        differs = describe_changes(agreement, one.agreement) if not one.outcome else []
        facts.insert(
            0, ("Changes", tag("ul", *(tag("li", line) for line in differs), class_="at-list") if differs else one.title)
        )
    elif one.change:
        facts.insert(0, ("To do", " ".join(f"{name}={value}" for name, value in one.change.items())))
    rows = (join_markup(tag("dt", name), tag("dd", value)) for name, value in facts)
    said = (tag("p", f"{names.get(comment.by, comment.by)}: {comment.text}", class_="at-about") for comment in one.comments)
    text = tag("p", one.text) if one.text else Markup()
    return tag(
        "article", tag("h3", one.title), tag("p", about, class_="at-about"), text, tag("dl", *rows), *said, class_="at-card"
    )
