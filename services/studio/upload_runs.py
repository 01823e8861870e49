"""Runs of the pipeline `prepare`, which cuts uploads into segments; recorded in the store so that leaving the page loses nothing.

The records of an upload's first run are under `inbox/<upload>/runs/000001/` (services.studio.run_records), those of the next try
under `000002/`. Does not import gradio.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Literal

from audiotune.domain.upload import Upload, read_upload
from audiotune.domain.waiting_sound import find_recording
from audiotune.errors import AlreadyInStoreError, AudioTuneError, ForbiddenError, PipelineError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.runs.port import PipelineRunner, RunSnapshot
from audiotune.store.layout import INBOX
from audiotune.store.port import Store
from services.studio.library import LibraryCache
from services.studio.run_records import RunEnd, RunFolder, RunRights, RunStart
from services.studio.waiting_recordings import UploadWaiting

UploadState = Literal["waiting", "running", "done", "failed", "deleted"]
_RECORD = INBOX.compile(r"([^/]+)/upload\.json")
_ATTEMPT = INBOX.compile(r"([^/]+)/runs/(\d{6})/begun\.json")
_MOST_SHOWN = 20


@dataclass(frozen=True)
class UploadStatus:
    """An upload and its progress.

    Attributes:
        attempt: number of its newest run; 0 for none.
        start: start of that run.
        share: finished part of that run, in [0, 1].
        words: the running step, or why the run failed.
        page: address of a page about the run.
        may_retry: no run is known to be in order.
        segments: number of segments that the store has of it.
        waits: whose word its files wait for, or why some were deleted.
    """

    upload: Upload
    state: UploadState
    attempt: int = 0
    start: RunStart | None = None
    share: float = 0.0
    words: str = ""
    page: str = ""
    may_retry: bool = False
    segments: int = 0
    waits: str = ""


class UploadRuns:
    """The uploads of the group and their runs of `prepare`.

    Args:
        every_s: seconds for which the list is answered from memory, for all pages together.
    """

    def __init__(
        self, store: Store, runner: PipelineRunner, library: LibraryCache, rights: RunRights, every_s: float = 2.0
    ) -> None:
        self._store, self.runner, self._library, self.rights, self._every_s = store, runner, library, rights, every_s
        self._lock = threading.Lock()
        self._records: dict[str, Upload] = {}
        self._seen: tuple[float, list[UploadStatus]] | None = None

    def start_run(self, upload: Upload, member: str) -> None:
        """Starts `prepare` on an upload, also when its last run failed. Raises PipelineError when it is running, done or cannot start."""
        with self._lock:
            last = self._read_status(upload, self._list_attempts().get(upload.id, 0))
            if last.state == "done" or not last.may_retry:
                now = "done" if last.state == "done" else "being prepared already"
                raise PipelineError(f"this upload {last.waits}" if last.waits else f"this upload is {now}")
            folder = self._open_folder(upload, last.attempt + 1)
            try:
                folder.write_start(RunStart(member=member, place=self.runner.place))
            except AlreadyInStoreError:
                raise PipelineError("somebody else started it just now", cure="load the page again") from None
            self._seen = None
            folder.start_run(self.runner, f"studio upload {upload.id}", _form_values(upload), _build_end)

    def retry_run(self, id: str, member: str) -> None:
        """Prepares an upload again. Raises like `start_run`; ForbiddenError for somebody outside the group."""
        self._require_member(member)
        self.start_run(read_upload(self._store, id), member)

    def stop_run(self, id: str, member: str) -> None:
        """Asks for the end of an upload's run. Raises ForbiddenError, PipelineError."""
        self._require_member(member)
        with self._lock:
            status = self._read_status(read_upload(self._store, id), self._list_attempts().get(id, 0))
            if status.start is None or status.state in ("done", "failed"):
                raise PipelineError("nothing runs for this upload", cure="load the page again")
            if not self.rights.may_cancel(member, status.start):
                raise ForbiddenError("only who started it and owners may stop it", cure=f"ask {status.start.member}")
            self._seen = None
            self._open_folder(status.upload, status.attempt).stop_run(self.runner, member)

    def list_uploads(self) -> list[UploadStatus]:
        """The newest uploads, newest first. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                self._seen = (time.monotonic(), self._read_newest())
            return self._seen[1]

    def read_reports(self, id: str) -> dict[str, str]:
        """Step -> HTML report of an upload's newest run. Raises PipelineError when they are on another machine."""
        upload, attempt = read_upload(self._store, id), self._list_attempts().get(id, 0)
        run = self._open_folder(upload, attempt).read_name() if attempt else ""
        return self.runner.read_reports(run) if run else {}

    def _read_newest(self) -> list[UploadStatus]:
        keys = [entry.key for entry in self._store.list(INBOX.path)]
        ids = sorted((match[1] for key in keys if (match := _RECORD.fullmatch(key))), reverse=True)
        attempts = _count_attempts(keys)
        found = []
        for id in ids[:_MOST_SHOWN]:
            try:
                found.append(self._read_status(self._read_record(id), attempts.get(id, 0)))
            except AudioTuneError:
                continue  # a damaged record hides no other upload
        return found

    def _read_record(self, id: str) -> Upload:
        if id not in self._records:
            self._records[id] = read_upload(self._store, id)
        return self._records[id]

    def _list_attempts(self) -> dict[str, int]:
        return _count_attempts([entry.key for entry in self._store.list(INBOX.path)])

    def _read_status(self, upload: Upload, attempt: int) -> UploadStatus:
        """How its newest run goes, and whose word it waits for."""
        status, waiting = self._read_run(upload, attempt), UploadWaiting(open_ledger(self._store).read_state(), upload)
        status = replace(status, waits=waiting.words)
        is_begun = status.start is not None and status.state in ("waiting", "running")
        if waiting.is_agreed and not is_begun:
            return replace(status, state="waiting", words=status.words if status.state == "failed" else "", may_retry=True)
        if not waiting.is_whole or is_begun or status.state == "done":
            return status
        return replace(status, state="waiting" if waiting.is_asking else "deleted", words="", may_retry=False)

    def _read_run(self, upload: Upload, attempt: int) -> UploadStatus:
        folder = self._open_folder(upload, attempt)
        start = folder.read_start(RunStart) if attempt else None
        if start is None:
            return self._describe_unstarted(upload, attempt)
        view = folder.view_run(self.runner, start, RunEnd, _build_end)
        seen, end = view.seen, view.end
        if view.trouble:
            return UploadStatus(upload, "running", attempt, start, words=view.trouble, may_retry=True)
        if end is None:
            words = "it is being stopped" if view.cancelled_by else _describe_running(seen)
            begun = any(step.state != "waiting" for step in seen.steps)
            return UploadStatus(upload, "running" if begun else "waiting", attempt, start, seen.share, words, seen.page)
        if end.how == "done":
            segments = self._count_segments(upload)
            return UploadStatus(upload, "done", attempt, start, 1.0, page=end.page, segments=segments)
        words = f"it was stopped by {end.by}" if end.how == "cancelled" and end.by else end.words
        return UploadStatus(upload, "failed", attempt, start, words=words, page=end.page, may_retry=True)

    def _describe_unstarted(self, upload: Upload, attempt: int) -> UploadStatus:
        """An upload without a run: from a version that recorded no runs, or from a studio that was stopped before the start."""
        segments = self._count_segments(upload)
        if segments:
            return UploadStatus(upload, "done", attempt, share=1.0, segments=segments)
        return UploadStatus(upload, "waiting", attempt, words="nothing was started for it", may_retry=True)

    def _count_segments(self, upload: Upload) -> int:
        recordings = {find_recording(file.blob) for file in upload.files}
        return sum(segment.recording in recordings for segment in self._library.current().segments.values())

    def _open_folder(self, upload: Upload, attempt: int) -> RunFolder:
        return RunFolder(self._store, INBOX.folder(upload.id, "runs", f"{attempt:06d}"))

    def _require_member(self, member: str) -> None:
        if not member:
            raise ForbiddenError("you are no member of the group", cure="choose who you are at the top of the page")


def _count_attempts(keys: list[str]) -> dict[str, int]:
    """Upload -> number of its newest run."""
    return {match[1]: int(match[2]) for key in sorted(keys) if (match := _ATTEMPT.fullmatch(key))}


def _build_end(seen: RunSnapshot, by: str) -> RunEnd:
    how = "cancelled" if by and seen.outcome != "done" else seen.outcome or "lost"
    return RunEnd(how=how, words=seen.words, by=by, page=seen.page)


def _form_values(upload: Upload) -> dict[str, str]:
    values = upload.model_dump(include={"session", "instrument", "licence"})
    values |= {"source": upload.source, "contributors": ",".join(upload.contributors)}
    return {name: value for name, value in values.items() if value}


def _describe_running(seen: RunSnapshot) -> str:
    running = [f"{step.title}: {step.words}" if step.words else step.title for step in seen.steps if step.state == "running"]
    return ", ".join(running)
