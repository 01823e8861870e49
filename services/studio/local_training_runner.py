"""The tuner on this machine: `python -m pipelines.local tune`, beside the studio and outliving it."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from audiotune.errors import PipelineError
from audiotune.runs.run_form import RunForm
from audiotune.store.port import Store
from services.studio import detached_process
from services.studio.training_runner import TrainingSnapshot, TrainingStep

_PROJECT_ROOT = Path(__file__).parents[2]  # where pipelines/ lies; it is no installed package
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FORM_S = 120  # two slow cores under load need half a minute


class LocalTrainingRunner:
    """Starts, finds again, looks at and ends runs on this machine.

    Args:
        work_folder: a folder for each run: log, board, artifacts.
        limit_s: longest a run may take, in seconds.
        command: replaces the program that is started; for tests.
    """

    place = "on this machine"

    def __init__(
        self, store: Store, work_folder: Path, *, recipe: str = "", limit_s: int = 604_800, command: Sequence[str] = ()
    ) -> None:
        self._store, self._work, self._limit_s = store, work_folder.resolve() / "tunings", limit_s
        self._command = [*(command or (sys.executable, "-m", "pipelines.local", "tune"))]
        self._recipe = ["--recipe", recipe] if recipe else []
        self._form: RunForm | None = None
        self._lock = threading.Lock()

    def read_form(self) -> RunForm:
        with self._lock:
            if self._form is None:
                self._form = self._load_form()
            return self._form

    def start(self, title: str, given: Mapping[str, str]) -> str:
        folder = self._work / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        flags = ["--store", self._store.url, "--out", str(folder / "artifacts"), "--board", str(folder / "board.json")]
        for name, value in given.items():
            flags += ["--set", f"{name}={value}"]
        try:
            detached_process.start_detached(
                folder, [*self._command, *self._recipe, *flags], self._limit_s, self._build_environment(), _PROJECT_ROOT
            )
        except OSError as e:
            raise PipelineError(f"the run cannot be started: {e.strerror}", where=str(folder)) from e
        return json.dumps({"machine": platform.node(), "folder": str(folder)})

    def read_snapshot(self, run: str) -> TrainingSnapshot:
        folder = self._find_folder(run)
        if folder is None:
            raise PipelineError("it runs on another machine", cure=f"open the studio on {json.loads(run)['machine']}")
        running = detached_process.is_running(folder)  # before the rest is read: what ends in between is seen at the next look
        steps, ended = _read_steps(folder), detached_process.read_exit(folder)
        if running:
            return TrainingSnapshot(steps)
        if ended is None:
            return TrainingSnapshot(
                steps, "lost", "it was cut off: the machine was stopped, or somebody ended the program by hand"
            )
        code, cause = ended
        if code == 0:
            return TrainingSnapshot(steps, "done")
        if cause == "overdue":
            return TrainingSnapshot(steps, "failed", f"it took longer than {self._limit_s} s and was ended")
        return TrainingSnapshot(steps, "cancelled" if cause == "cancelled" else "failed", _read_failure_reason(folder))

    def cancel(self, run: str) -> None:
        folder = self._find_folder(run)
        if folder is None:
            raise PipelineError("it runs on another machine", cure=f"cancel it on {json.loads(run)['machine']}")
        detached_process.request_stop(folder)

    def _find_folder(self, run: str) -> Path | None:
        """The run's folder; None when it is another machine's."""
        told = json.loads(run)
        return Path(told["folder"]) if told["machine"] == platform.node() else None

    def _build_environment(self) -> dict[str, str]:
        ours = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "AUDIOTUNE_STORE": self._store.url}
        return {**os.environ, **ours}

    def _load_form(self) -> RunForm:
        command = [*self._command, *self._recipe, "--form"]
        try:
            told = subprocess.run(
                command,
                cwd=_PROJECT_ROOT,
                env=self._build_environment(),
                capture_output=True,
                text=True,
                timeout=_FORM_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise PipelineError("the program that trains does not answer", where=command[0], cure="try it again") from e
        if told.returncode:
            words = next((line for line in reversed(told.stderr.splitlines()) if line.strip()), "it gave no reason")
            raise PipelineError(words.removeprefix("tune: ").rstrip("."))
        try:
            return RunForm.model_validate_json(told.stdout.strip().splitlines()[-1])
        except (ValidationError, IndexError) as e:
            raise PipelineError("the program that trains shows no form", where=command[0], cure="is it of this version?") from e


def _read_steps(folder: Path) -> tuple[TrainingStep, ...]:
    """The steps as audiotune.runs.run_state wrote them; none before the run has begun."""
    try:
        return tuple(TrainingStep.model_validate(step) for step in json.loads((folder / "board.json").read_text())["steps"])
    except (OSError, ValueError, KeyError):
        return ()


def _read_failure_reason(folder: Path) -> str:
    """The last line the program said."""
    try:
        with (folder / "log").open("rb") as log:
            log.seek(max(0, (folder / "log").stat().st_size - 20_000))
            lines = [_COLOURS.sub("", line).strip() for line in log.read().decode(errors="replace").splitlines()]
    except OSError:
        lines = []
    words = next((line for line in reversed(lines) if line), "no word came from it")
    return words.removeprefix("tune: ").rstrip(".")[:800]
