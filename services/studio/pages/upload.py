"""The upload page: a form for files and their contributors, and the list of uploads with their progress (widgets/uploads.js)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.domain.upload import Upload
from audiotune.errors import AudioTuneError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.writer import open_governance_writer
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio import uploads
from services.studio.context import StudioContext
from services.studio.markup import embed_page, format_sentence, render_message
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_acting_member
from services.studio.pages.server_functions import Payload, create_server_function
from services.studio.theme import build_widget
from services.studio.upload_runs import UploadStatus
from services.studio.uploads import RejectedFile
from services.studio.waiting_recordings import UploadWaiting

_LEAD = "Bring a jam: any length, any format. It is kept as it came, then cut into segments that start where a sound starts."
_TO_THE_REPORT = "() => document.querySelector('#at-upload-report')?.scrollIntoView({block: 'start'})"


def build_upload_page(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
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
    listed = _build_upload_list(context)
    report = gr.HTML(elem_id="at-upload-report")

    def on_send(request: gr.Request, *values: Any) -> tuple[Any, Any, Any]:
        paths, contributors, session_name, instrument_name, chosen_licence, chosen = values
        member = find_acting_member(context, chosen, request)
        said = {
            "uploaded_by": member,
            "contributors": tuple(contributors or ()),
            "session": session_name.strip(),
            "instrument": instrument_name.strip(),
            "licence": chosen_licence or "",
        }
        kept, message = keep_and_start(context, [Path(p) for p in paths or []], said)
        return message, gr.File(value=None) if kept else gr.skip(), {"member": member, "sent": message if kept else ""}

    def on_report(event: gr.EventData) -> Markup:
        return _render_reports(context, str(event.id or ""))

    # No generator: a function that was called runs to its end, also when the member leaves the page.
    inputs = [files, people, session, instrument, licence, me]
    send.click(on_send, inputs, [news, files, listed], show_progress="minimal", concurrency_limit=2)
    listed.report(on_report, None, [report], show_progress="hidden").then(None, js=_TO_THE_REPORT)
    return PageRefresh(
        lambda member: (*_refresh_form(context, member), {"member": member}), [people, licence, listed], when_opened=False
    )


def keep_and_start(context: StudioContext, paths: list[Path], said: Mapping[str, object]) -> tuple[bool, Markup]:
    """Stores the files and starts `prepare` on them; returns whether a file was stored, and a message for the page."""
    if not said.get("uploaded_by"):
        return False, render_message("Choose who you are at the top of the page first.", "bad")
    if not paths:
        return False, render_message("Choose at least one file first.", "bad")
    refused: list[RejectedFile] = []
    upload = None
    try:
        named = [(path, path.name) for path in paths]
        agreement = context.require_agreement()
        upload, refused = uploads.store_upload(context.store, named, said, agreement, context.settings.upload_limit_mb)
        if upload is None:
            return False, join_markup(render_message("Nothing was kept.", "bad"), _render_rejected_files(refused))
        context.upload_folder.discard(paths)
        ready = uploads.ask_people(open_governance_writer(context.store), agreement, upload)
        if ready:
            context.upload_runs.start_run(upload, upload.uploaded_by)
    except AudioTuneError as e:
        return upload is not None, join_markup(render_message(format_sentence(e), "bad"), _render_rejected_files(refused))
    words = _describe_kept(context, upload, len(ready))
    return True, join_markup(render_message(words, "good"), _render_rejected_files(refused))


def _describe_kept(context: StudioContext, upload: Upload, ready: int) -> str:
    held = len(upload.files) - ready
    sentences = []
    if ready:
        kept = "1 file is" if ready == 1 else f"{ready} files are"
        sentences.append(f"{kept} kept and being cut {context.upload_runs.runner.place}.")
    if held:
        waits = UploadWaiting(open_ledger(context.store).read_state(), upload)
        sentences.append(
            f"{'1 file' if held == 1 else f'{held} files'}: {waits.words}. Who is asked hears it on the Agreement page."
        )
    return " ".join([*sentences, "You may leave the page."])


def _build_upload_list(context: StudioContext) -> gr.HTML:
    """The widget. It triggers `report` with an upload's id to see its reports."""
    calls = UploadFunctions(context)
    works = (calls.list_uploads, calls.retry_upload, calls.stop_upload)
    functions = [create_server_function(context, work) for work in works]
    element = '<section class="at-uploads" aria-label="Uploads"></section>'
    return build_widget("at-uploads", element, {"member": ""}, "uploads.js", functions=functions)


class UploadFunctions:
    """The server functions of the widget."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context

    def list_uploads(self, member: str, payload: Payload) -> Payload:
        """The newest uploads, and the number of segments to annotate."""
        shown = [self._describe_upload(member, status) for status in self._context.upload_runs.list_uploads()]
        segments = len(self._context.library.current().segments)
        done = any(upload["state"] == "done" for upload in shown)
        return {"uploads": shown, "summary": f"{segments} segments wait on the Annotate page." if done else ""}

    def retry_upload(self, member: str, payload: Payload) -> Payload:
        """Prepares an upload again."""
        self._context.upload_runs.retry_run(str(payload["id"]), member)
        return self.list_uploads(member, payload)

    def stop_upload(self, member: str, payload: Payload) -> Payload:
        """Asks for the end of an upload's run."""
        self._context.upload_runs.stop_run(str(payload["id"]), member)
        return self.list_uploads(member, payload)

    def _describe_upload(self, member: str, status: UploadStatus) -> Payload:
        upload, start = status.upload, status.start
        people = self._context.annotation_queue.list_active_members()
        words = f"{status.segments} segments" if status.state == "done" else status.words
        words = "; ".join(filter(None, (words, status.waits)))
        may_stop = start is not None and self._context.upload_runs.rights.may_cancel(member, start)
        return {
            "id": upload.id,
            "title": upload.session or ", ".join(file.name for file in upload.files[:3]),
            "files": [file.name for file in upload.files],
            "who": people.get(upload.uploaded_by, upload.uploaded_by),
            "state": status.state,
            "share": status.share,
            "words": f"{words[:1].upper()}{words[1:]}",
            "page": status.page,
            "attempt": status.attempt,
            "may_retry": bool(member) and status.may_retry,
            "may_stop": may_stop and status.state in ("waiting", "running"),
            "reports": status.state in ("done", "failed") and bool(status.attempt) and not status.page,
        }


def _render_reports(context: StudioContext, upload: str) -> Markup:
    try:
        pages = context.upload_runs.read_reports(upload)
    except AudioTuneError as e:
        return render_message(format_sentence(e), "bad")
    if not pages:
        return render_message("This run left no report.")
    return join_markup(*(join_markup(tag("h3", step), embed_page(page, step)) for step, page in pages.items()))


def _render_rejected_files(refused: list[RejectedFile]) -> Markup:
    if not refused:
        return Markup()
    items = (tag("li", tag("b", r.name), f": {r.reason}") for r in refused)
    return join_markup(tag("h3", "Not kept"), tag("ul", *items, class_="at-list"))


def _refresh_form(context: StudioContext, member: str) -> tuple[Any, Any]:
    try:
        agreement = context.require_agreement()
    except AudioTuneError:
        return gr.CheckboxGroup(choices=[]), gr.Dropdown(choices=[])
    people = [(m.name, m.id) for m in agreement.members if not m.left]
    licences = list(dict.fromkeys((agreement.recordings_licence, *agreement.accepted_licences)))
    contributors = gr.CheckboxGroup(choices=people, value=[member] if member else [])
    return contributors, gr.Dropdown(choices=licences, value=agreement.recordings_licence)
