"""A form of "My recordings": a member leaves a part of a recording out of everything that they agreed to."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError, SettingsError
from audiotune.governance.consent_record import ExceptedPart
from audiotune.governance.excepted import find_own_record, parse_part
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.excepted_events import PartsExcepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.reporting.html import Markup, join_markup, tag
from audiotune.withdrawal.excepted_preview import describe_excepted_preview, preview_excepted
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.member_events import Act, MemberAct, MemberActs
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_present_member
from services.studio.withdrawals import ServedAliases

_WORDS = (
    "Segments that touch a part that you leave out come into no dataset, and a release that was made with one may not play any more: at "
    "once, or after the days of grace that the agreement has."
)


def build_excepted_form(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    form = ExceptedForm(context, me)
    return PageRefresh(form.load_values, form.outputs)


class ExceptedForm:
    """The form. `outputs` are filled by `load_values`."""

    def __init__(self, context: StudioContext, me: gr.BrowserState) -> None:
        self._context = context
        gr.HTML(join_markup(tag("h2", "Leave a part out"), tag("p", _WORDS, class_="at-intro")))
        recording = gr.Dropdown([], label="Recording", elem_id="at-except-of")
        shown = gr.HTML(elem_id="at-excepted")
        with gr.Row():
            start = gr.Textbox(label="From", placeholder="1:05.5", max_length=12, min_width=120, elem_id="at-except-from")
            end = gr.Textbox(label="To", placeholder="1:20", max_length=12, min_width=120, elem_id="at-except-to")
        with gr.Row():
            look = gr.Button("Show what follows", elem_id="at-except-look", min_width=140)
            add = gr.Button("Leave it out", elem_id="at-except-add", min_width=140)
            clear = gr.Button("Leave nothing out any more", elem_id="at-except-clear", min_width=140)
        news = gr.HTML(elem_id="at-except-news")
        self.outputs = [recording, shown, news]
        recording.input(self._show, [recording, me], [shown, news], api_visibility="private")
        look.click(self._foresee, [recording, start, end, me], [news], api_visibility="private")
        acts = MemberActs(context, me)
        acts.connect(add, draft_part, self._add, [recording, start, end], [shown, news])
        acts.connect(clear, draft_clearing, self._clear, [recording], [shown, news])

    def load_values(self, member: str) -> tuple[Any, ...]:
        """The recordings of a member; none where the store does not answer, which another part of the page says."""
        try:
            own = self._context.library.current().list_member_recordings(member) if member else []
        except AudioTuneError:
            return tuple(gr.skip() for _ in self.outputs)
        return gr.Dropdown(choices=[(row.name, row.id) for row in own], value=None), "", ""

    def _show(self, recording: str | None, chosen: str, request: gr.Request) -> tuple[Any, Any]:
        try:
            return self._render_parts(recording, find_present_member(self._context, chosen, request)), ""
        except AudioTuneError as e:
            return "", render_message(format_sentence(e), "bad")

    def _foresee(self, recording: str | None, start: str, end: str, chosen: str, request: gr.Request) -> Any:
        try:
            of, parts = _require_chosen(recording), (parse_part(start, end),)
            member = find_present_member(self._context, chosen, request)
            seen = preview_excepted(self._context.store, ServedAliases(self._context, member), member, of, parts)
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad")
        return tag("ul", *(tag("li", one) for one in describe_excepted_preview(seen)), class_="at-list", id="at-except-follows")

    def _add(self, act: MemberAct, recording: str | None, start: str, end: str) -> tuple[Any, Any]:
        return self._record(act, recording, lambda: draft_part(recording, start, end))

    def _clear(self, act: MemberAct, recording: str | None) -> tuple[Any, Any]:
        return self._record(act, recording, lambda: draft_clearing(recording))

    def _record(self, act: MemberAct, recording: str | None, draft: Any) -> tuple[Any, Any]:
        try:
            act.record(*draft())
            member = find_present_member(self._context, act.chosen, act.request)
            return self._render_parts(recording, member), render_message("Recorded; it counts from now on.", "good")
        except AudioTuneError as e:
            return gr.skip(), render_message(format_sentence(e), "bad")

    def _render_parts(self, recording: str | None, member: str) -> Markup:
        record = find_own_record(open_ledger(self._context.store).read_state(), recording or "", member)
        return render_parts(record.excepted if record else ())


def render_parts(parts: Sequence[ExceptedPart]) -> Markup:
    if not parts:
        return tag("p", "Nothing is left out.", class_="at-about")
    listed = ", ".join(f"{_format_time(part.start_s)} to {_format_time(part.end_s)}" for part in parts)
    return tag("p", f"Left out: {listed}.", class_="at-about")


def draft_part(recording: str | None, start: str, end: str) -> Act:
    """The event that leaves a part out. Raises SettingsError: no recording, or no part."""
    return "parts_excepted", dump_body(PartsExcepted(recording=_require_chosen(recording), parts=(parse_part(start, end),)))


def draft_clearing(recording: str | None) -> Act:
    return "parts_excepted", dump_body(PartsExcepted(recording=_require_chosen(recording), clear=True))


def _require_chosen(recording: str | None) -> str:
    if not recording:
        raise SettingsError("no recording is chosen", cure="choose one first")
    return recording


def _format_time(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
