"""The launcher port: the studio asks for ingest and segment; where they run is the launcher's business.

Two kinds: `MachineLauncher` (a process on this machine) and `services.studio.kubeflow_prepare_runner.KubeflowLauncher` (over HTTP).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from audiotune.errors import PipelineError
from audiotune.store.port import Store
from services.studio import uploads
from services.studio.uploads import Upload

_SHARE = re.compile(r"\[?\s*(\d{1,3})\s*%\]?\s+(.*)")  # `[ 40%] words` of a step, `40% words` of pipelines.local
_STEP = re.compile(r"(\d+)/(\d+) \S")  # `2/2 Cut into segments ...`
_PROJECT_ROOT = Path(__file__).parents[2]  # where pipelines/ lies; it is no installed package
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class PrepareProgress:
    """One word from a run.

    Attributes:
        share: how far it is, in [0, 1]; None when only words came.
        words: for people.
        reports: HTML reports, step name -> page; filled with the last word only.
        done: the run ended well.
    """

    share: float | None
    words: str
    reports: dict[str, str] = field(default_factory=dict)
    done: bool = False


class PrepareRunner(Protocol):
    """Starts ingest and segment on an upload and tells how it goes."""

    @property
    def place(self) -> str:
        """Where it runs, in words, as in "on this machine"."""

    def prepare_upload(self, upload: Upload) -> Iterator[PrepareProgress]:
        """Yields news; the last has `done`. Raises PipelineError with the step's own last words when it failed."""


class LocalPrepareRunner:
    """Runs `python -m pipelines.local prepare` beside the studio. The studio imports neither pipelines nor components.

    Args:
        work_folder: where the run's files are laid out and its artifacts and reports come.
        command: replaces the program that is started; for tests.
    """

    place = "on this machine"

    def __init__(
        self, store: Store, work_folder: Path, *, recipe: str = "", limit_s: int = 7200, command: Sequence[str] = ()
    ) -> None:
        self._store, self._work, self._recipe, self._limit_s = store, work_folder.resolve(), recipe, limit_s
        self._command = tuple(command) or (sys.executable, "-m", "pipelines.local", "prepare")

    def prepare_upload(self, upload: Upload) -> Iterator[PrepareProgress]:
        out = self._work / "runs" / upload.id
        takes = uploads.link_upload_files(self._store, upload, self._work / "inbox" / upload.id)
        yield PrepareProgress(0.0, "Starting")
        process = subprocess.Popen(
            [*self._command, *self._build_flags(upload, takes, out)],
            cwd=_PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb", "AUDIOTUNE_STORE": self._store.url},
        )  # fmt: skip
        last: deque[str] = deque(maxlen=12)
        try:
            yield from self._follow_process(process, last)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            words = next((line for line in reversed(last) if line), "no word came from the step")
            raise PipelineError(words, where="taking the recordings in", cure=f"the whole log is in {out}")
        yield PrepareProgress(1.0, "Done", read_reports(out), done=True)

    def _build_flags(self, upload: Upload, takes: Path, out: Path) -> list[str]:
        form = {
            "source": str(takes),
            "contributors": ",".join(upload.contributors),
            "session": upload.session,
            "instrument": upload.instrument,
            "licence": upload.licence,
        }
        flags = ["--store", self._store.url, "--out", str(out)]
        flags += ["--recipe", self._recipe] if self._recipe else []
        for name, value in form.items():
            flags += ["--set", f"{name}={value}"] if value else []
        return flags

    def _follow_process(self, process: subprocess.Popen[str], last: deque[str]) -> Iterator[PrepareProgress]:
        overdue = threading.Event()  # said by who ends the run: a clock of our own may be a moment behind the timer's

        def end() -> None:
            overdue.set()
            process.kill()

        stop = threading.Timer(self._limit_s, end)
        stop.start()
        step, steps = 1, 1
        try:
            for line in process.stdout or ():
                words = _COLOURS.sub("", line).strip()
                if words:
                    last.append(words)
                    if match := _STEP.match(words):
                        step, steps = int(match.group(1)), max(1, int(match.group(2)))
                    yield parse_progress_line(words, step, steps)
            process.wait()
        finally:
            stop.cancel()
        if overdue.is_set():
            raise PipelineError(f"the run took longer than {self._limit_s} s and was stopped", cure="cut the take in parts")


def parse_progress_line(line: str, step: int = 1, steps: int = 1) -> PrepareProgress:
    """A line of a run's output as news: `[ 40%] words` carries a share of its step, and so of the whole run."""
    match = _SHARE.match(line)
    if match is None:
        return PrepareProgress(None, line[:300])
    return PrepareProgress((step - 1 + min(1.0, int(match.group(1)) / 100)) / steps, match.group(2))


def read_reports(folder: Path) -> dict[str, str]:
    """The HTML reports a run left, by step: files that begin with a doctype, whatever their suffix."""
    found = {}
    for path in sorted(folder.rglob("*report*")) if folder.is_dir() else ():
        if path.is_file() and path.stat().st_size < 8_000_000:
            text = path.read_bytes()
            if text[:64].lstrip().lower().startswith(b"<!doctype html"):
                found[_find_step_name(path, folder)] = text.decode("utf-8", errors="replace")
    return found


def _find_step_name(path: Path, folder: Path) -> str:
    for part in path.relative_to(folder).parts:
        for step in ("ingest", "segment"):
            if step in part:
                return step
    return path.stem
