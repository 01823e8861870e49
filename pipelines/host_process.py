"""Runs the steps of a compiled pipeline as processes on this machine, shows their progress live and keeps their logs."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from audiotune.reporting.last_words import find_last_words
from audiotune.reporting.progress import ProgressCallback, parse_progress_line
from audiotune.runs.run_form import RunForm
from audiotune.runs.run_state import RunStateFile
from pipelines.step_printer import StepPrinter

StepOutputs = dict[str, dict[str, Any]]  # step -> output -> path or value


class HostProcess:
    """Replaces kfp.local's subprocess handler; runs the component's own command with this Python.

    Environment variables of this machine override those compiled in for the cluster: here the store is a folder.
    """

    state: ClassVar[RunStateFile]
    outputs: ClassVar[StepOutputs]
    last_lines: ClassVar[deque[str]] = deque(maxlen=20)
    last_log: ClassVar[str] = ""

    def __init__(
        self, image: str, full_command: list[str], pipeline_root: str, runner: Any, env_vars: dict[str, str] | None = None
    ):
        self.command = [sys.executable, *full_command[1:]]
        self.env_vars = env_vars or {}
        self.executor = json.loads(full_command[full_command.index("--executor-input") + 1])
        self.folder = Path(self.executor["outputs"]["outputFile"]).parent

    def run(self) -> Any:
        from kfp.local import status

        step = self.folder.name
        HostProcess.last_lines.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "step.log"
        HostProcess.last_log = str(log)
        with HostProcess.state.track_step(step):
            code = self._stream_output(log, lambda share, words: HostProcess.state.report_progress(step, share, words))
            if code:
                raise RuntimeError(f"{step} ended with code {code}")
        HostProcess.outputs[step.replace("-", "_")] = self._read_outputs()
        return status.Status.SUCCESS

    def _stream_output(self, log: Path, report: ProgressCallback) -> int:
        environment = {**self.env_vars, **os.environ, "PYTHONUNBUFFERED": "1"}
        root = str(Path(__file__).resolve().parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
        with (
            log.open("w") as out,
            subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
            ) as child,
        ):
            try:
                for line in child.stdout or ():
                    out.write(line)
                    out.flush()
                    if progress := parse_progress_line(line.rstrip("\n")):
                        report(*progress)
                    else:
                        HostProcess.last_lines.append(line.rstrip("\n"))
            except KeyboardInterrupt:
                child.terminate()
                raise
            return child.wait()

    @classmethod
    def last_words(cls) -> str:
        """The last words of the step that ran last, which say why it failed."""
        return find_last_words("\n".join(cls.last_lines))

    def _read_outputs(self) -> dict[str, Any]:
        declared = self.executor["outputs"]
        paths = {name: a["artifacts"][0]["uri"] for name, a in declared.get("artifacts", {}).items()}
        written = json.loads(Path(declared["outputFile"]).read_text())
        metrics = {name: a["artifacts"][0].get("metadata", {}) for name, a in written["artifacts"].items() if name == "metrics"}
        return {**paths, **written["parameterValues"], **metrics}


@contextlib.contextmanager
def use_host_processes(spec: dict[str, Any], state_file: Path | None = None) -> Iterator[StepOutputs]:
    """Makes kfp.local use HostProcess while a pipeline runs; yields the outputs of its steps.

    Args:
        state_file: shows the progress to other programs (audiotune.runs.run_state).
    """
    from kfp.local import subprocess_task_handler

    before = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = HostProcess
    try:
        with StepPrinter(Console(file=sys.__stdout__, highlight=False)) as printer:
            HostProcess.outputs = {}
            HostProcess.state = RunStateFile(state_file, RunForm.from_spec(spec).steps, printer.show_steps)
            yield HostProcess.outputs
    finally:
        subprocess_task_handler.SubprocessTaskHandler = before


def use_line_buffering() -> None:
    """Writes each line at once, also to a file or a pipe."""
    for stream in (sys.stdout, sys.__stdout__):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


@contextlib.contextmanager
def silence_kfp() -> Iterator[None]:
    """Silences kfp.local, which logs every task at length; the steps' own output is enough (StepPrinter writes to the real stdout)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
