"""Runs on this machine: `python -m pipelines.local PIPELINE` as a detached process that outlives the program that started it."""

import contextlib
import json
import os
import platform
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audiotune.errors import PipelineError
from audiotune.reporting.last_words import find_last_words
from audiotune.runs import detached_process
from audiotune.runs.port import RunSnapshot
from audiotune.runs.run_form import RunForm
from audiotune.runs.run_state import read_run_steps

OUTPUTS_FILE = "outputs.json"  # pipelines.local writes it into its --out folder: step -> output -> path or value
_PROJECT_ROOT = Path(__file__).parents[2]  # where pipelines/ lies; it is no installed package
_FORM_S = 120  # two slow cores under load need half a minute
_LARGEST_REPORT_B = 8_000_000


class LocalRunner:
    """Runs of one pipeline on this machine.

    Args:
        store_url: AUDIOTUNE_STORE of every step.
        folder: has a folder for each run, with its log, state and artifacts.
        recipe: name of a shipped recipe or a file; empty takes the default of pipelines.local.
        limit_s: longest duration of a run, in seconds.
        at_once: how many runs of `folder` run at the same time, while the others wait; 0 for all of them.
        command: replaces the started program; for tests.
    """

    place = "on this machine"

    def __init__(
        self,
        store_url: str,
        folder: Path,
        pipeline: str,
        *,
        recipe: str = "",
        limit_s: int = 604_800,
        at_once: int = 0,
        command: Sequence[str] = (),
    ) -> None:
        self._store_url, self._folder, self._pipeline = store_url, folder.resolve(), pipeline
        self._limit_s, self._at_once = limit_s, at_once
        self._command = [*(command or (sys.executable, "-m", "pipelines.local", pipeline))]
        self._command += ["--recipe", recipe] if recipe else []
        self._form: RunForm | None = None
        self._lock = threading.Lock()

    def read_form(self) -> RunForm:
        with self._lock:
            if self._form is None:
                self._form = self._load_form()
            return self._form

    def start(self, title: str, values: Mapping[str, Any]) -> str:
        folder = self._folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        flags = ["--store", self._store_url, "--out", str(folder / "artifacts"), "--state-file", str(folder / "state.json")]
        for name, value in values.items():
            flags += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        try:
            command, environ = [*self._command, *flags], self._build_environment()
            detached_process.start_detached(
                folder, command, limit_s=self._limit_s, at_once=self._at_once, environ=environ, cwd=_PROJECT_ROOT
            )
        except OSError as e:
            raise PipelineError(f"the run cannot be started: {e.strerror}", where=str(folder)) from e
        return json.dumps({"machine": platform.node(), "folder": str(folder)})

    def read_snapshot(self, run: str) -> RunSnapshot:
        folder = _find_folder(run, "open the studio")
        running = detached_process.is_running(folder)  # read first: a run that ends in between is seen at the next look
        steps, exit_ = read_run_steps(folder / "state.json"), detached_process.read_exit(folder)
        if running:
            return RunSnapshot(steps)
        if exit_ is None:
            return RunSnapshot(steps, "lost", "it was cut off: the machine was stopped, or somebody ended the program by hand")
        code, cause = exit_
        if code == 0:
            return RunSnapshot(steps, "done")
        if cause == "overdue":
            return RunSnapshot(steps, "failed", f"it took longer than {self._limit_s} s and was ended")
        return RunSnapshot(steps, "cancelled" if cause == "cancelled" else "failed", self._read_failure_reason(folder))

    def stop(self, run: str) -> None:
        detached_process.request_stop(_find_folder(run, "cancel it"))

    def read_reports(self, run: str) -> dict[str, str]:
        return find_reports(_find_folder(run, "open the studio") / "artifacts")

    def read_outputs(self, run: str) -> dict[str, Any]:
        """Step -> output -> path of an artifact or value; empty before the run is done."""
        try:
            outputs: dict[str, Any] = json.loads((_find_folder(run, "look at it") / "artifacts" / OUTPUTS_FILE).read_text())
        except (OSError, ValueError):
            return {}
        return outputs

    def _build_environment(self) -> dict[str, str]:
        ours = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "AUDIOTUNE_STORE": self._store_url}
        return {**os.environ, **ours}

    def _load_form(self) -> RunForm:
        command, environ = [*self._command, "--form"], self._build_environment()
        try:
            answer = subprocess.run(command, cwd=_PROJECT_ROOT, env=environ, capture_output=True, text=True, timeout=_FORM_S)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise PipelineError("the program that trains does not answer", where=command[0], cure="try it again") from e
        if answer.returncode:
            raise PipelineError(self._clean_words(find_last_words(answer.stderr)) or "it gave no reason")
        try:
            return RunForm.model_validate_json(answer.stdout.strip().splitlines()[-1])
        except (ValidationError, IndexError) as e:
            raise PipelineError("the program that trains shows no form", where=command[0], cure="is it of this version?") from e

    def _read_failure_reason(self, folder: Path) -> str:
        words = ""
        with contextlib.suppress(OSError), (folder / "log").open("rb") as log:
            log.seek(max(0, (folder / "log").stat().st_size - 20_000))
            words = find_last_words(log.read().decode(errors="replace"))
        return self._clean_words(words) or "no word came from it"

    def _clean_words(self, words: str) -> str:
        return words.removeprefix(f"{self._pipeline}: ").rstrip(".")


def find_reports(folder: Path) -> dict[str, str]:
    """Step -> HTML report: files that begin with a doctype, whatever their suffix."""
    reports = {}
    for path in sorted(folder.rglob("*report*")) if folder.is_dir() else ():
        if path.is_file() and path.stat().st_size < _LARGEST_REPORT_B:
            text = path.read_bytes()
            if text[:64].lstrip().lower().startswith(b"<!doctype html"):
                reports[path.parent.name] = text.decode("utf-8", errors="replace")
    return reports


def _find_folder(run: str, action: str) -> Path:
    """The run's folder. Raises PipelineError when it is on another machine."""
    name = json.loads(run)
    if name["machine"] != platform.node():
        raise PipelineError("it runs on another machine", cure=f"{action} on {name['machine']}")
    return Path(name["folder"])
