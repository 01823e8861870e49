"""A section of the agreement page: a row a recording, a switch a use. The widget is widgets/my_recordings.js."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from audiotune.errors import AccessError, ConsentError
from audiotune.governance.agreement import ALL_USES, Agreement, Use
from audiotune.governance.dependents import DependentsReader
from audiotune.governance.last_day import format_last_day, parse_last_day
from audiotune.governance.use_texts import NEWEST, USE_TEXTS, compute_text_digest
from services.studio.context import StudioContext
from services.studio.member_events import ask_for_signature, parse_signature, record_member_event
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_present_member
from services.studio.pages.server_functions import Payload, create_request_function
from services.studio.recording_consents import (
    MemberConsents,
    RecordingConsent,
    describe_dependents,
    list_member_consents,
    name_releases,
)
from services.studio.theme import build_widget
from services.studio.waveform import read_file_peaks

# Short labels of the switches; what they mean is in USE_TEXTS, which the page shows.
USE_LABELS: dict[Use, str] = {
    "store": "Keep",
    "train": "Train",
    "release": "Release",
    "generate": "Generate",
    "publish": "Publish",
    "earn": "Earn",
}


def build_my_recordings_section(context: StudioContext) -> PageRefresh:
    calls = _ConsentFunctions(context)
    works = (calls.read_consents, calls.change_consent, calls.hear_recording)
    functions = [create_request_function(context, work) for work in works]
    element, scripts = '<section class="at-consents" aria-label="My recordings"></section>', ("player.js", "my_recordings.js")
    widget = build_widget("at-my-recordings", element, {"member": ""}, *scripts, functions=functions)
    calls.cache = widget.move_resource_to_block_cache
    return PageRefresh(lambda member: {"member": member, "opened": datetime.now(UTC).isoformat()}, [widget])


class _ConsentFunctions:
    """The functions that the widget calls. `cache` copies a file to a folder that browsers may fetch from, and returns its path."""

    def __init__(self, context: StudioContext) -> None:
        self._context, self._dependents = context, DependentsReader(context.store)
        self.cache: Callable[[str], str | None] = lambda path: path

    def read_consents(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """Everything that the page shows."""
        return self._describe(self._require_present(payload, request))

    def change_consent(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """Gives or takes back a use, or sets or takes away the end; of one recording, or of all. Then everything as it is now."""
        present = self._require_present(payload, request)
        recordings = [str(payload["recording"])] if payload.get("recording") else []
        kind, body = _build_event(payload, recordings)
        chosen = str(payload.get("member", ""))
        if payload.get("prepare"):
            return {"sign": ask_for_signature(self._context, chosen, request, kind, body)}
        signed = parse_signature(payload.get("signed"))
        number = record_member_event(self._context, chosen, request, kind, body, signed)
        return self._describe(present) | {"event": number}

    def hear_recording(self, member: str, payload: Payload, request: gr.Request) -> Payload:
        """The sound of a recording's first segment, with its peaks."""
        id, present = str(payload["recording"]), self._require_present(payload, request)
        library = self._context.library.current()
        if id not in {one.recording.id for one in self._list_consents(present).recordings}:
            raise ConsentError("you are not heard in this recording", cure="listen to segments on the Annotate page")
        segments = sorted((s for s in library.segments.values() if s.recording == id), key=lambda s: s.start_frame)
        if not segments:
            return {"error": "It is not cut into segments yet, so there is nothing to play here."}
        path = self._context.store.fetch(segments[0].blob)
        seconds, peaks = segments[0].duration_s, list(read_file_peaks(path))
        return {"url": f"gradio_api/file={self.cache(str(path))}", "peaks": peaks, "seconds": seconds}

    def _require_present(self, payload: Payload, request: gr.Request) -> str:
        """The member, also one who has left: they may take back what they gave."""
        present = find_present_member(self._context, str(payload.get("member", "")), request)
        if not present:
            raise AccessError("nobody is chosen", cure="choose who you are at the top of the page first")
        return present

    def _list_consents(self, member: str) -> MemberConsents:
        return list_member_consents(self._context.store, self._context.library.current(), self._dependents, member)

    def _describe(self, member: str) -> Payload:
        found = self._list_consents(member)
        names = {one.id: one.name for one in found.agreement.members}
        return {
            "uses": [_describe_use(found.agreement, use) for use in ALL_USES],
            "version": NEWEST,
            "standing": {
                "uses": list(found.standing_uses),
                "until": format_last_day(found.standing.until),
                "own": found.standing.event > 0,
            },
            "rows": [_describe_row(row, names) for row in found.recordings],
        }


def _build_event(payload: Payload, recordings: list[str]) -> tuple[str, dict[str, Any]]:
    """(kind, body) of the event that a change asks for."""
    named: dict[str, Any] = {"recordings": recordings} if recordings else {}
    if "until" in payload:
        if not payload["until"]:
            return "consent_given", {**named, "no_end": True}
        return "consent_given", {**named, "until": parse_last_day(str(payload["until"])).isoformat()}
    use: Use = payload["use"]
    if use not in ALL_USES:
        raise ConsentError(f"{str(use)[:40]!r} is no use", cure="load the page again")
    if payload.get("on"):
        uses = [*dict.fromkeys(("store", use))]  # what is used is kept
        return "consent_given", {**named, "uses": uses, "text": compute_text_digest(ALL_USES)}
    return "consent_narrowed", {**named, "uses": list(ALL_USES) if use == "store" else [use]}


def _describe_use(agreement: Agreement, use: Use) -> Payload:
    return {"use": use, "label": USE_LABELS[use], "text": USE_TEXTS[NEWEST][use], "allowed": use in agreement.allowed_uses}


def _describe_row(row: RecordingConsent, names: dict[str, str]) -> Payload:
    record = row.record
    return {
        "id": row.recording.id,
        "name": row.recording.name,
        "when": f"{row.brought_in:%d %b %Y}" if row.brought_in else "",
        "seconds": row.recording.duration_s,
        "people": [names.get(who, who) for who in row.people],
        "uses": list(row.uses),
        "until": format_last_day(record.until if record else None),
        "ending": {use: f"{end:%d %b %Y}" for use, end in record.ends.items() if use in row.uses} if record else {},
        "counts": list(row.counts),
        "missing": list(row.missing),
        "hangs": describe_dependents(row.hangs),
        "segments": len(row.hangs.segments),
        "playing": name_releases((*row.hangs.releases, *row.hangs.adapters)),
        "excepted": len(record.excepted) if record else 0,
    }
