"""A section of the agreement page: the form in which the agreement is made and changed, with its difference in words."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.access.owners import is_owner
from audiotune.errors import AgreementError, AudioTuneError, DecisionError
from audiotune.governance import Agreement, load_agreement, publish_agreement
from audiotune.governance.agreement_changes import describe_changes, list_deciding_kinds
from audiotune.governance.agreement_record import ALL_USES, PROPOSAL_KINDS
from audiotune.governance.agreement_toml import format_agreement
from audiotune.governance.agreement_words import KIND_WORDS, LICENCE_WORDS, RULE_WORDS
from audiotune.governance.decisions import draft_agreement_proposal, read_proposals
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.use_texts import USE_WORDS
from audiotune.reporting.html import Markup, join_markup, tag
from audiotune.store.atomic_files import write_atomic_file
from services.studio.agreement_form import AgreementForm, complete_members, fill_form, read_form
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.member_events import Act, MemberAct, MemberActs
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_account, find_acting_member, find_ticket

_FIRST = "Make it together. It says who you are, what may be done with your recordings, and how you decide."
_LATER = "Change what you like; below you see the difference in words. It takes force as the agreement itself says."
_MEMBERS = "One a line, as in: Ana Kos (ana). Leave the brackets out, and an id is suggested. It stands in files, and stays."
_RELOAD = "(made) => { if (made && made.first) setTimeout(() => location.reload(), 600); }"


class AgreementEditor:
    """The form. `outputs` are filled by `load_values`; only loading the page or choosing a member fills it anew."""

    def __init__(self, context: StudioContext, me: gr.BrowserState) -> None:
        self._context = context
        self._head = gr.HTML()
        with gr.Column(elem_id="at-editor") as self._column:
            self._build_fields()
            self._diff = gr.HTML(elem_id="at-agreement-diff")
            with gr.Row():
                self._publish = gr.Button("Make it our agreement", variant="primary", elem_id="at-agreement-publish")
                self._propose = gr.Button("Propose it to the group", elem_id="at-agreement-propose")
            news = gr.HTML(elem_id="at-agreement-news")
            with gr.Accordion("As a file", open=False):
                taken = gr.File(label="Take in agreement.toml", file_types=[".toml"], type="binary", elem_id="at-agreement-file")
                save = gr.Button("Make agreement.toml of the form", elem_id="at-agreement-save")
                download = gr.DownloadButton("Download agreement.toml", visible=False, elem_id="at-agreement-download")
        # what the form was filled from, and the digest of the version in force that its writer saw
        self._base, self._seen, made = gr.State(None), gr.State(""), gr.JSON(visible=False)
        form = [self._seen, self._base, *self._fields]
        self.outputs = [self._head, self._column, self._publish, self._propose, self._seen, self._base, self._diff, *self._fields]
        private: dict[str, Any] = {"api_visibility": "private"}
        for one in self._fields:
            event = one.blur if isinstance(one, gr.Textbox | gr.Number) else one.input
            event(self._show_difference, form, [self._diff], show_progress="hidden", **private)
        self._members.blur(_complete, [self._members], [self._members], show_progress="hidden", **private)
        publishing = self._publish.click(self._on_publish, [me, *form], [news, made, *self.outputs], **private)
        publishing.then(None, made, None, js=_RELOAD, **private)
        MemberActs(context, me).connect(self._propose, self._draft, self._on_propose, form, [news, *self.outputs])
        taken.upload(self._take_file, [taken], [news, self._base, self._diff, *self._fields], **private)
        save.click(self._save_file, form, [news, download], **private)
        self._download = download

    def _build_fields(self) -> None:
        licences = [(f"{words} ({id})", id) for id, words in LICENCE_WORDS.items()]
        uses = [(USE_WORDS[use], use) for use in ALL_USES]
        group = gr.Textbox(label="What is the group called?", max_length=200, elem_id="at-agreement-group")
        self._members = gr.Textbox(
            label="Who is in it?", info=_MEMBERS, lines=5, max_length=20_000, elem_id="at-agreement-members"
        )
        may = gr.CheckboxGroup(uses, label="The group may", elem_id="at-agreement-uses")
        standing = gr.CheckboxGroup(
            uses,
            label="New members say yes beforehand to",
            info="Ticked nothing: they are asked for each recording.",
            elem_id="at-agreement-standing",
        )
        recordings = gr.Dropdown(licences, label="Our recordings are", allow_custom_value=True, elem_id="at-agreement-recordings")
        weights = gr.Dropdown(licences, label="Our releases are", allow_custom_value=True, elem_id="at-agreement-weights")
        accepted = gr.Dropdown(
            licences, label="From outside we take", multiselect=True, allow_custom_value=True, elem_id="at-agreement-accepted"
        )
        with gr.Accordion("What we decide together", open=True):
            needs = [("no decision needed", ""), *((words, name) for name, words in RULE_WORDS.items())]
            with gr.Row():
                rules = [
                    gr.Dropdown(needs, label=f"To {KIND_WORDS[kind]}", min_width=230, elem_id=f"at-agreement-rule-{kind}")
                    for kind in PROPOSAL_KINDS
                ]
            with gr.Row():
                quorum = gr.Number(label="Of the members must vote, in %", minimum=0, maximum=100, elem_id="at-agreement-quorum")
                days = gr.Number(label="Days for a vote", minimum=0, maximum=366, elem_id="at-agreement-days")
                answer = gr.Number(label="Days to answer for a recording", minimum=0, maximum=366, elem_id="at-agreement-answer")
                grace = gr.Number(label="Days of grace after a withdrawal", minimum=0, maximum=366, elem_id="at-agreement-grace")
        licensed, terms = (recordings, weights, accepted), (quorum, days, answer, grace)
        self._fields: list[Any] = [group, self._members, *licensed, may, standing, *terms, *rules]

    def load_values(self, person: str) -> tuple[Any, ...]:
        """The form of the version in force, and what this person may do with it.

        Args:
            person: the account that signed in, or the member chosen where nobody does.
        """
        context = self._context
        try:
            current = context.find_agreement()
        except AudioTuneError:  # the terms above say it
            return tuple(gr.skip() for _ in self.outputs)
        found = current.find_member(person) if current else None
        is_member = found is not None and not found.left
        may_publish = is_owner(context.store, person) if context.requires_sign_in else current is None or is_member
        shown = may_publish or is_member
        words = (
            _LATER
            if current
            else _FIRST
            if shown
            else "There is no agreement yet. An owner of the group makes the first one here."
        )
        needs_rule = current is not None and "agreement" in current.decisions
        head = join_markup(
            tag("h2", "Change the agreement" if current else "Make your agreement"), tag("p", words, class_="at-intro")
        )
        return (
            head if shown or current is None else Markup(),
            gr.Column(visible=shown),
            gr.Button("Put it in force" if current else "Make it our agreement", visible=may_publish and not needs_rule),
            gr.Button(visible=current is not None and is_member),
            current.digest if current else "",
            current.model_dump(mode="json") if current else None,
            Markup(),
            *_list_values(fill_form(current)),
        )

    def _read(self, base: Any, values: Sequence[Any]) -> Agreement:
        return read_form(_form_of(values), Agreement.model_validate(base) if base else None)

    def _show_difference(self, seen: str, base: Any, *values: Any) -> Markup:
        try:
            return self._render_difference(self._read(base, values))
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad")

    def _render_difference(self, new: Agreement) -> Markup:
        current = self._context.find_agreement()
        changes = describe_changes(current, new)
        if current is None or not changes:
            return Markup()
        kinds = list_deciding_kinds(current, new)
        decided = f"This needs a decision of the group: {'; '.join(KIND_WORDS[kind] for kind in kinds)}." if kinds else ""
        rows = tag("ul", *(tag("li", line) for line in changes), class_="at-list")
        return join_markup(tag("h3", "What changes"), rows, tag("p", decided, class_="at-about") if decided else Markup())

    def _on_publish(self, request: gr.Request, chosen: str, seen: str, base: Any, *values: Any) -> tuple[Any, ...]:
        kept = tuple(gr.skip() for _ in self.outputs)
        try:
            new, current = self._read(base, values), self._context.find_agreement()
            if seen != (current.digest if current else ""):
                return render_message(_TOO_LATE, "bad"), None, *self._see_again(kept, current, new)
            if current is not None:
                new = new.model_copy(update={"version": current.version + 1})
                if not describe_changes(current, new):
                    raise AgreementError("nothing differs from the version in force", cure="change something first")
            self._put_in_force(request, chosen, new, seen)
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), None, *kept
        news = render_message(f"Version {new.version} is in force. Each of you reads it and signs it.", "good")
        person = find_account(self._context, request) or chosen
        return news, {"first": current is None}, *self.load_values(person)

    def _put_in_force(self, request: gr.Request, chosen: str, new: Agreement, seen: str) -> None:
        if self._context.requires_sign_in:
            body = {"agreement": new.model_dump(mode="json"), "instead_of": seen}
            self._context.access.record_event(find_ticket(self._context, request), "agreement_published", body)
        else:
            member = find_acting_member(self._context, chosen, request)
            publish_agreement(self._context.store, new, by=member, via="command", instead_of=seen)

    def _see_again(self, kept: tuple[Any, ...], current: Agreement | None, new: Agreement) -> tuple[Any, ...]:
        """The form as it is, its difference from the version that took force meanwhile, and that one as seen."""
        values = list(kept)
        values[self.outputs.index(self._seen)] = current.digest if current else ""
        values[self.outputs.index(self._diff)] = self._render_difference(new)
        return tuple(values)

    def _draft(self, seen: str, base: Any, *values: Any) -> Act:
        state = open_ledger(self._context.store).read_state()
        if state.agreement is None or state.agreement.digest != seen:
            raise DecisionError(_TOO_LATE.rstrip("."))
        return "proposal_opened", dump_body(draft_agreement_proposal(state, self._read(base, values), instead_of=seen))

    def _on_propose(self, act: MemberAct, seen: str, base: Any, *values: Any) -> tuple[Any, ...]:
        kept = tuple(gr.skip() for _ in self.outputs)
        try:
            current = self._context.find_agreement()
            if current is not None and current.digest != seen:
                return render_message(_TOO_LATE, "bad"), *self._see_again(kept, current, self._read(base, values))
            number = act.record(*self._draft(seen, base, *values))
            opened = read_proposals(self._context.store)[number]
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), *kept
        words = f"Proposal {opened.id} is open until {opened.ends:%d %b %Y, %H:%M} UTC; the group votes under Decisions."
        return render_message(words, "good"), *kept

    def _take_file(self, data: bytes | None) -> tuple[Any, ...]:
        try:
            given = load_agreement(data or b"")
            return (
                render_message("Taken into the form; nothing is in force yet.", "good"),
                given.model_dump(mode="json"),
                self._render_difference(given),
                *_list_values(fill_form(given)),
            )
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), gr.skip(), gr.skip(), *(gr.skip() for _ in self._fields)

    def _save_file(self, seen: str, base: Any, *values: Any) -> tuple[Any, Any]:
        try:
            text = format_agreement(self._read(base, values))
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), gr.DownloadButton(visible=False)
        folder = Path(self._download.GRADIO_CACHE) / secrets.token_hex(16)  # nobody else can guess this folder
        folder.mkdir(parents=True)
        path = write_atomic_file(folder / "agreement.toml", text)
        return render_message("Ready.", "good"), gr.DownloadButton(value=str(path), visible=True)


_TOO_LATE = (
    "Another version of the agreement took force while you wrote. Look at what differs from that one now, then do it again."
)


def build_editor(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    editor = AgreementEditor(context, me)
    return PageRefresh(editor.load_values, editor.outputs, when_opened=False, by_account=context.requires_sign_in)


def _complete(members: str) -> Any:
    try:
        return complete_members(members)
    except AudioTuneError:  # the difference says what does not fit
        return gr.skip()


def _list_values(form: AgreementForm) -> tuple[Any, ...]:
    """In the order of the fields."""
    return (
        form.group,
        form.members,
        form.recordings_licence,
        form.weights_licence,
        form.accepted_licences,
        form.uses,
        form.standing,
        form.quorum,
        form.days,
        form.answer_within_days,
        form.withdrawal_grace_days,
        *(form.rules.get(kind, "") for kind in PROPOSAL_KINDS),
    )


def _form_of(values: Sequence[Any]) -> AgreementForm:
    group, members, recordings, weights, accepted, uses, standing, quorum, days, answer, grace, *rules = values
    return AgreementForm(
        group=group or "",
        members=members or "",
        recordings_licence=recordings or "",
        weights_licence=weights or "",
        accepted_licences=accepted or [],
        uses=[use for use in ALL_USES if use in uses],
        standing=[use for use in ALL_USES if use in standing],
        quorum=quorum,
        days=days,
        answer_within_days=answer,
        withdrawal_grace_days=grace,
        rules={kind: needs for kind, needs in zip(PROPOSAL_KINDS, rules, strict=True) if needs},
    )
