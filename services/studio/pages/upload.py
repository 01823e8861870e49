"""Upload: files, who plays on them, and the two steps that turn them into segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from audiotune.reporting.html import tag
from services.studio.context import StudioContext
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_acting_member
from services.studio.upload_preparation import prepare_uploaded_files

_LEAD = "Bring a jam: any length, any format. It is kept as it came, then cut into segments that start where a sound starts."


def build_upload_page(desk: StudioContext, me: gr.BrowserState) -> PageRefresh:
    gr.HTML(tag("p", _LEAD, class_="at-intro"))
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            files = gr.File(label="Recordings", file_count="multiple", type="filepath", height=220, elem_id="at-files")
        with gr.Column(scale=2, min_width=300):
            people = gr.CheckboxGroup([], label="Who plays on it", info="Everybody who can be heard.", elem_id="at-people")
            session = gr.Textbox(label="Session", placeholder="Tuesday jam", max_length=200, elem_id="at-session")
            instrument = gr.Textbox(label="Instrument", placeholder="modular, two cases", max_length=200)
            licence = gr.Dropdown([], label="Licence", allow_custom_value=False)
    send = gr.Button("Keep and cut", variant="primary", elem_id="at-send")
    news = gr.HTML(elem_id="at-news")
    report = gr.HTML(elem_id="at-upload-report")

    def on_send(
        paths: list[str] | None, who_plays: list[str], session_: str, instrument_: str, licence_: str, chosen: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, Any]]:  # fmt: skip
        said = {
            "uploaded_by": find_acting_member(desk, chosen, request), "contributors": tuple(who_plays or ()), "session": session_.strip(),
            "instrument": instrument_.strip(), "licence": licence_ or "",
        }  # fmt: skip
        yield from prepare_uploaded_files(desk, [Path(p) for p in paths or []], said)

    send.click(
        on_send, [files, people, session, instrument, licence, me], [news, report], show_progress="hidden", concurrency_limit=2
    )
    return PageRefresh(lambda member: _refresh_form(desk, member), [people, licence], when_opened=False)


def _refresh_form(desk: StudioContext, member: str) -> tuple[Any, Any]:
    try:
        agreement = desk.require_agreement()
    except AudioTuneError:
        return gr.CheckboxGroup(choices=[]), gr.Dropdown(choices=[])
    people = [(m.name, m.id) for m in agreement.members if not m.left]
    licences = list(dict.fromkeys((agreement.recordings_licence, *agreement.accepted_licences)))
    return (
        gr.CheckboxGroup(choices=people, value=[member] if member else []),
        gr.Dropdown(choices=licences, value=agreement.recordings_licence),
    )
