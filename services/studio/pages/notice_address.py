"""A section of the account page: where the member is told by e-mail what happens in the group."""

from __future__ import annotations

from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from audiotune.reporting.html import join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.notices.addresses import read_address, write_address
from services.studio.pages.header import find_account

_WORDS = (
    "New uploads in which you are heard, proposals, withdrawals, releases and the end of your trainings. "
    "The address stands in no ledger, and no other member sees it."
)


class NoticeAddressForm:
    """The form. `outputs` are filled by `load_values`; there are none where the operator has set no mail server."""

    def __init__(self, context: StudioContext) -> None:
        self._context, self.outputs = context, list[Any]()
        if not context.settings.smtp_host:
            return
        gr.HTML(join_markup(tag("h2", "Tell me by e-mail"), tag("p", _WORDS, class_="at-intro")))
        email = gr.Textbox(label="My address; empty: tell me nothing", max_length=254, elem_id="at-notice-email")
        keep, news = gr.Button("Keep it", elem_id="at-notice-keep"), gr.HTML(elem_id="at-notice-news")
        keep.click(self._keep_address, [email], [news, email], api_visibility="private")
        self.outputs = [email]

    def load_values(self, member: str) -> tuple[Any, ...]:
        return tuple(read_address(self._context.store, member) if member else "" for _ in self.outputs)

    def _keep_address(self, email: str, request: gr.Request) -> tuple[Any, Any]:
        """The address of whoever signed in, whatever a page sends."""
        try:
            kept = write_address(self._context.store, find_account(self._context, request), email)
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), gr.skip()
        return render_message("You are told at this address." if kept else "You are told nothing by e-mail.", "good"), kept
