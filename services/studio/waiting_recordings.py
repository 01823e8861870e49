"""Recordings that wait for somebody's word, for the studio's pages: what waits for a member, a copy to hear, and what an answer starts.

Copies to hear lie in the folder of the member who hears them, from which nobody else is served. Does not import gradio.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiotune.audio.listening_copy import write_listening_copy
from audiotune.domain.recording import Digest
from audiotune.domain.upload import SOURCE_PREFIX, Upload, read_upload
from audiotune.domain.waiting_sound import WaitingFacts, download_waiting_sound, find_recording, read_waiting_facts
from audiotune.errors import AudioTuneError, ConsentError, NotInStoreError, StoreError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.waiting import WaitsForMember, decide_waiting, list_waiting, may_hear
from audiotune.governance.waiting_record import WaitingRecording, describe_end, join_names
from audiotune.governance.writer import open_governance_writer
from audiotune.store.port import Store
from services.studio.http.refusals import RequestRefusedError
from services.studio.http.upload_folder import UploadFolder
from services.studio.library import LibraryCache

LOG = logging.getLogger("audiotune.studio")
UPKEEP_S = 300.0
_WHY = {
    "brought_in": "{by} brought it in and named you.",
    "named_later": "It is in the library already; you were named in it only now. Until you answer it is used for nothing.",
    "sounds_alike": "You were not named, but it sounds like a recording in which you are heard.",
}


class WaitingRecordings:
    """What waits in the group's store. `signs_in`: whether members sign in; else everybody's files lie in one folder."""

    def __init__(self, store: Store, library: LibraryCache, folder: UploadFolder, *, signs_in: bool) -> None:
        self._store, self._library, self._folder, self._signs_in = store, library, folder, signs_in
        self._lock = threading.Lock()
        self._copies: dict[tuple[str, Digest], Path] = {}

    def list_for(self, member: str) -> list[dict[str, Any]]:
        """What waits for a member's word, for the widget."""
        state, now = self._read_state(), datetime.now(UTC)
        self._discard_ended(state)
        return [self._describe(state, one, now) for one in list_waiting(state, member)]

    def write_copy(self, member: str, recording: Digest) -> Path:
        """A copy that the member's browser plays. Raises ConsentError: it is not theirs to hear, or waits no more."""
        state = self._read_state()
        if not may_hear(state, recording, member):
            raise ConsentError("this recording waits for others", cure="only those named in it and who brought it in hear it")
        with self._lock:
            known = self._copies.get((member, recording))
        if known and known.exists():
            return known
        try:
            folder, _ = self._folder.open_request(member if self._signs_in else "", 1)
        except RequestRefusedError as e:
            raise StoreError(f"the studio has no room for a copy to hear: {e.words}", cure="try again in an hour") from e
        copy = folder / "recording.flac"
        with TemporaryDirectory() as scratch:
            write_listening_copy(self._find_bytes(state, recording, Path(scratch)), copy)
        with self._lock:
            self._copies[member, recording] = copy
        return copy

    def follow_answer(self, recording: Digest) -> str:
        """What the newest answer leads to, in words. What is refused is deleted now."""
        state = self._read_state()
        waits = state.waiting.get(recording)
        if waits is None or waits.outcome:
            return "It counts from now on."
        verdict = decide_waiting(state, waits, datetime.now(UTC))
        if verdict.kind == "asking":
            return f"It still waits for {join_names(verdict.people, self._list_names(state))}."
        if verdict.kind == "agreed":
            return "Everybody has agreed."
        self.end_due()
        is_gone = bool(self._read_state().waiting[recording].erased)
        return "It is deleted." if is_gone else "It is used for nothing, and is deleted within minutes."

    def find_agreed_upload(self, recording: Digest) -> Upload | None:
        """The upload of a recording that everybody in it has agreed to keep, and that was not taken in yet."""
        state = self._read_state()
        waits = state.waiting.get(recording)
        if waits is None or waits.outcome or decide_waiting(state, waits, datetime.now(UTC)).kind != "agreed":
            return None
        facts = self._read_facts(waits)
        if not facts.source.startswith(SOURCE_PREFIX):
            return None  # the next run takes it in
        return read_upload(self._store, facts.source.removeprefix(SOURCE_PREFIX))

    def end_due(self) -> None:
        """Ends what is over, and deletes it. What fails is done a little later, here or by the governance service."""
        try:
            open_governance_writer(self._store).end_due_waiting()
        except AudioTuneError as e:
            LOG.warning("recordings that wait no more: %s", e)
        with suppress(AudioTuneError):
            self._discard_ended(self._read_state())

    def start_upkeep(self, every_s: float = UPKEEP_S) -> threading.Thread:
        """Ends what is over again and again, for as long as the process runs."""

        def repeat() -> None:
            while True:
                self.end_due()
                time.sleep(every_s)

        thread = threading.Thread(target=repeat, name="waiting-upkeep", daemon=True)
        thread.start()
        return thread

    def _describe(self, state: GovernanceState, one: WaitsForMember, now: datetime) -> dict[str, Any]:
        names, waits, row = self._list_names(state), state.waiting.get(one.recording), None
        if one.why == "brought_in" and waits:
            facts = self._read_facts(waits)
        else:
            row = self._library.current().recordings.get(one.recording)
            facts = WaitingFacts(name=row.name, session=row.session, instrument=row.instrument) if row else WaitingFacts(name="")
        about = " · ".join(filter(None, (facts.session, facts.instrument)))
        others = f"It waits also for {join_names(one.others, names)}." if one.others else ""
        days = (one.until - now).total_seconds() / 86_400 if one.until else None
        return {
            "id": one.recording,
            "title": facts.name.rpartition("/")[2] or one.recording[:12],
            "why": _WHY[one.why].format(by=join_names(one.uploaded_by, names) or "Somebody"),
            "about": " ".join(filter(None, (f"{about}." if about else "", others))),
            "until": f"{one.until:%d %b %Y}" if one.until else "",
            "days": max(0, round(days)) if days is not None else None,
            "deletes": one.why == "brought_in",
        }

    def _read_facts(self, waits: WaitingRecording) -> WaitingFacts:
        try:
            return read_waiting_facts(self._store, waits.sound)
        except (NotInStoreError, ValueError):
            return WaitingFacts(name="")

    def _find_bytes(self, state: GovernanceState, recording: Digest, scratch: Path) -> Path:
        waits, row = state.waiting.get(recording), self._library.current().recordings.get(recording)
        try:
            if waits and not waits.outcome:
                path = scratch / Path(waits.sound).name
                download_waiting_sound(self._store, waits.sound, path)
                return path
            if row:
                return self._store.fetch(row.blob)
        except NotInStoreError:
            pass
        raise ConsentError("this recording is no longer there", cure="load the page again")

    def _discard_ended(self, state: GovernanceState) -> None:
        """Removes copies of what their member may not hear any more, or has no reason to."""
        with self._lock:
            for (member, recording), path in list(self._copies.items()):
                if recording not in {one.recording for one in list_waiting(state, member)}:
                    self._folder.discard([path])
                    del self._copies[member, recording]

    def _read_state(self) -> GovernanceState:
        return open_ledger(self._store).read_state()

    def _list_names(self, state: GovernanceState) -> dict[str, str]:
        return {member.id: member.name for member in state.agreement.members} if state.agreement else {}


class UploadWaiting:
    """Whose word an upload waits for.

    Attributes:
        words: about the files that wait or were deleted; empty where there are none.
        is_asking: some wait for an answer.
        is_agreed: everybody agreed for some that were not taken in yet.
        is_whole: it is so of every file.
    """

    def __init__(self, state: GovernanceState, upload: Upload) -> None:
        names = {member.id: member.name for member in state.agreement.members} if state.agreement else {}
        found = {file.name: state.waiting.get(find_recording(file.blob) or "") for file in upload.files}
        waits = [one for one in found.values() if one and one.outcome != "taken_in"]
        verdicts = [(one, decide_waiting(state, one, datetime.now(UTC))) for one in waits if not one.outcome]
        asking = [(one, verdict) for one, verdict in verdicts if verdict.kind == "asking"]
        people = dict.fromkeys(who for _, verdict in asking for who in verdict.people)
        ended = [one for one in waits if one.outcome]
        ending = [verdict for _, verdict in verdicts if verdict.kind in ("refused", "left", "expired")]
        self.is_asking, self.is_agreed = bool(asking), any(verdict.kind == "agreed" for _, verdict in verdicts)
        self.is_whole = len(waits) == len(upload.files)
        words = []
        if asking:
            last = max(one.until for one, _ in asking)
            words.append(f"{_count(len(asking), upload)}waits for {join_names(people, names)}, until {last[:10]}")
        if self.is_agreed:
            words.append("everybody agreed")
        words += dict.fromkeys(
            f"{_count(len(ended), upload)}deleted on {one.ended[:10]}: {describe_end(one, names)}" for one in ended
        )
        words += ["about to be deleted"] if ending else []
        self.words = "; ".join(words)


def _count(number: int, upload: Upload) -> str:
    return "" if len(upload.files) == 1 else f"{number} of {len(upload.files)}: "
