"""Upload: files, who plays on them, and the two steps that turn them into segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from services.studio import inbox
from services.studio.desk import Desk
from services.studio.inbox import Refused, Upload
from services.studio.markup import Markup, joined, page_in_frame, say, tag
from services.studio.pages import Arrival
from services.studio.pages.head import who

_LEAD = "Bring a jam: any length, any format. It is kept as it came, then cut into segments that start where a sound starts."
_SHOWN_LINES = 6


def build(desk: Desk, me: gr.BrowserState) -> Arrival:
    gr.HTML(tag("p", _LEAD, class_="at-lead"))
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
            "uploaded_by": who(desk, chosen, request), "contributors": tuple(who_plays or ()), "session": session_.strip(),
            "instrument": instrument_.strip(), "licence": licence_ or "",
        }  # fmt: skip
        yield from take_in(desk, [Path(p) for p in paths or []], said)

    send.click(
        on_send, [files, people, session, instrument, licence, me], [news, report], show_progress="hidden", concurrency_limit=2
    )
    return Arrival(lambda member: _form(desk, member), [people, licence])


def take_in(desk: Desk, paths: list[Path], said: dict[str, object]) -> Iterator[tuple[Markup, Markup]]:
    """Keeps the files, then runs the steps; yields (news, report) as they come."""
    if not said.get("uploaded_by"):
        yield say("Choose who you are at the top of the page first.", "bad"), Markup()
        return
    if not paths:
        yield say("Choose at least one file first.", "bad"), Markup()
        return
    yield say("Keeping the files …"), Markup()
    refused: list[Refused] = []
    try:
        named = [(path, path.name) for path in paths]
        upload, refused = inbox.keep(desk.store, named, said, desk.agreement(), desk.settings.upload_limit_mb)
        if upload is None:
            yield joined(say("Nothing was kept.", "bad"), _refusals(refused)), Markup()
            return
        yield from _follow(desk, upload, refused)
    except AudioTuneError as e:
        words = f"{str(e)[:1].upper()}{str(e)[1:]}."
        yield joined(say(words, "bad"), _refusals(refused)), Markup()


def _follow(desk: Desk, upload: Upload, refused: list[Refused]) -> Iterator[tuple[Markup, Markup]]:
    share, lines = 0.0, [f"{len(upload.files)} kept; the steps run {desk.launcher.place}"]
    for news in desk.launcher.prepare(upload):
        share = share if news.share is None else news.share
        lines = [*lines, news.words][-_SHOWN_LINES:]
        pages = joined(*(joined(tag("h3", step), page_in_frame(page, step)) for step, page in news.reports.items()))
        if news.done:
            segments = len(desk.shelves.current().segments)
            yield joined(say(f"Done. {segments} segments wait on the Annotate page.", "good"), _refusals(refused)), pages
        else:
            yield joined(_bar(share, lines), _refusals(refused)), pages


def _bar(share: float, lines: list[str]) -> Markup:
    percent = f"{share:.0%}"
    bar = tag(
        "div", tag("i", class_="at-bar-me", style=f"width:{percent}"), class_="at-bar", role="progressbar",
        aria_valuenow=percent.rstrip("%"), aria_valuemin="0", aria_valuemax="100", aria_label="Progress",
    )  # fmt: skip
    return tag("div", bar, *(tag("p", line) for line in lines), class_="at-progress")


def _refusals(refused: list[Refused]) -> Markup:
    if not refused:
        return Markup()
    items = (tag("li", tag("b", r.name), f": {r.reason}") for r in refused)
    return joined(tag("h3", "Not kept"), tag("ul", *items, class_="at-list"))


def _form(desk: Desk, member: str) -> tuple[Any, Any]:
    try:
        agreement = desk.agreement()
    except AudioTuneError:
        return gr.CheckboxGroup(choices=[]), gr.Dropdown(choices=[])
    people = [(m.name, m.id) for m in agreement.members if not m.left]
    licences = list(dict.fromkeys((agreement.recordings_licence, *agreement.accepted_licences)))
    return (
        gr.CheckboxGroup(choices=people, value=[member] if member else []),
        gr.Dropdown(choices=licences, value=agreement.recordings_licence),
    )
