"""A section of "My recordings": the recordings that wait for the member's word, to hear and to answer. The widget is widgets/waiting.js."""

from contextlib import suppress
from typing import Any, get_args

import gradio as gr

from audiotune.errors import AccessError, PipelineError
from audiotune.governance.agreement_record import Use
from audiotune.governance.use_texts import USE_TEXTS, compute_text_digest
from services.studio.context import StudioContext
from services.studio.member_events import ask_for_signature, parse_signature, record_member_event
from services.studio.pages import PageRefresh
from services.studio.pages.server_functions import Payload, create_request_function
from services.studio.theme import build_widget


def build_waiting_section(context: StudioContext) -> PageRefresh:
    calls = WaitingFunctions(context)
    works = (calls.list_waiting, calls.hear_recording, calls.answer_recording)
    functions = [create_request_function(context, work) for work in works]
    element = '<section class="at-waiting-for-me" aria-label="Waiting for you"></section>'
    widget = build_widget("at-waiting-for-me", element, {"member": ""}, "waiting.js", functions=functions)
    return PageRefresh(lambda member: {"member": member}, [widget])


class WaitingFunctions:
    """The server functions of the widget."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context

    def list_waiting(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """What waits for the member, and the uses that the agreement allows, with the words that are recorded with the answer."""
        allowed = self._context.require_agreement().allowed_uses
        texts = max(USE_TEXTS.items())[1]
        uses = [{"use": use, "text": texts[use]} for use in get_args(Use) if use in allowed]
        return {"waiting": self._context.waiting_recordings.list_for(member), "uses": uses}

    def hear_recording(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """The address of a copy that only this member is served."""
        copy = self._context.waiting_recordings.write_copy(member, str(payload["id"]))
        return {"url": f"gradio_api/file={copy}"}

    def answer_recording(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """Records the answer; no use is a no. What everybody agreed to is taken in, what one refused is deleted."""
        if not member:
            raise AccessError("nobody is chosen", cure="choose who you are at the top of the page first")
        recording, uses = str(payload["id"]), sorted(map(str, payload["uses"]))
        body: dict[str, Any] = {"recording": recording, "uses": uses, "text": compute_text_digest(uses)}  # type: ignore[arg-type]
        if payload.get("prepare"):
            return {"sign": ask_for_signature(self._context, member, request, "recording_answered", body)}
        signed = parse_signature(payload.get("signed"))
        record_member_event(self._context, member, request, "recording_answered", body, signed)
        words = self._context.waiting_recordings.follow_answer(recording)
        upload = self._context.waiting_recordings.find_agreed_upload(recording)
        if upload:
            with suppress(PipelineError):  # it is being prepared already
                self._context.upload_runs.start_run(upload, member)
                words = f"{words} It is being cut {self._context.upload_runs.runner.place}."
        return {**self.list_waiting(member, payload, request), "words": f"Recorded. {words}"}
