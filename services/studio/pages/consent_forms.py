"""A form for owners, where members sign in: who is heard in a recording."""

from typing import Any

import gradio as gr

from audiotune.access.owners import is_owner
from audiotune.errors import AudioTuneError
from audiotune.governance import list_heard, read_consents
from audiotune.reporting.html import join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import render_message
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_ticket

_HEARD = "When it is not clear who plays on a recording, an owner decides. Whoever is taken out is not asked any more."


def build_heard_form(context: StudioContext) -> PageRefresh:
    form = HeardForm(context)
    return PageRefresh(form.load_values, form.outputs)


class HeardForm:
    """The form and what it shows. `outputs` are filled by `load_values`."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        with gr.Column(visible=False) as self._owners:
            gr.HTML(join_markup(tag("h2", "Who is heard"), tag("p", _HEARD, class_="at-intro")))
            self._any = gr.Dropdown([], label="Recording", elem_id="at-heard-of")
            self._heard = gr.Dropdown([], label="Heard in it", multiselect=True, elem_id="at-heard")
            why = gr.Textbox(label="Why", max_length=500, elem_id="at-heard-why")
            decide, news = gr.Button("Decide", elem_id="at-heard-decide"), gr.HTML(elem_id="at-heard-news")
        self.outputs = [self._owners, self._any, self._heard]
        private: dict[str, Any] = {"api_visibility": "private"}
        self._any.input(self._show_heard, [self._any], [self._heard, news], **private)
        decide.click(self._decide, [self._any, self._heard, why], [news], **private)

    def load_values(self, member: str) -> tuple[Any, ...]:
        """The choices for an owner; none where the store does not answer, which another part of the page says."""
        try:
            library, agreement = self._context.library.current(), self._context.require_agreement()
            owner = is_owner(self._context.store, member)
        except AudioTuneError:
            return tuple(gr.skip() for _ in self.outputs)
        every = sorted((recording.name, recording.id) for recording in library.recordings.values()) if owner else []
        people = [(m.name, m.id) for m in agreement.members]
        return gr.Column(visible=owner), gr.Dropdown(choices=every, value=None), gr.Dropdown(choices=people, value=[])

    def _show_heard(self, recording: str) -> tuple[Any, Any]:
        try:
            found = self._context.library.current().recordings.get(recording)
            people = {recording: found.contributors if found else ()}
            return list(list_heard(read_consents(self._context.store, [recording]), people)[recording]), ""
        except AudioTuneError as e:
            return gr.skip(), render_message(f"{e}.", "bad")

    def _decide(self, recording: str | None, heard: list[str], why: str, request: gr.Request) -> Any:
        if not recording or not why.strip():
            return render_message("Choose a recording, and say why.", "bad")
        try:
            self._context.access.record_decision(find_ticket(self._context, request), recording, heard, why.strip())
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad")
        return render_message("Decided; the record names you and the reason.", "good")
