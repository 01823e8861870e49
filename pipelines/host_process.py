"""How one step of a compiled pipeline runs on this machine: a process, its progress shown live, its log kept."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from audiotune.runs.run_form import RunForm
from audiotune.runs.run_state import RunStateFile

_SHARE = re.compile(r"\[\s*(\d+)%\] (.*)")


class ProgressDisplay:
    """What a person sees: one line per step while it runs (a bar on a terminal, sparse lines in a log) and one when done.

    Attributes:
        outputs: step -> output name -> path or value.
        board: the same for programs.
    """

    def __init__(self, names: dict[str, str], board: RunStateFile) -> None:
        self.names, self.outputs, self.board = names, dict[str, dict[str, Any]](), board
        self.console = Console(file=sys.__stdout__, highlight=False)
        self.done = 0
        self._told = 0.0

    @contextlib.contextmanager
    def show_step(self, step: str) -> Iterator[Any]:
        """Yields `tell(share, words)` for the time the step runs."""
        with self.board.track_step(step), self._draw_step(step) as show:

            def tell(share: float, words: str) -> None:
                show(share, words)
                self.board.report_progress(step, share, words)

            yield tell

    @contextlib.contextmanager
    def _draw_step(self, step: str) -> Iterator[Any]:
        title = f"{self.done + 1}/{len(self.names)} {self.names.get(step, step)}"
        start = time.monotonic()
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[words]}"),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task(title, total=1.0, words="starting")
                yield lambda share, words: progress.update(task, completed=share, words=words[:60])
        else:
            self.console.print(f"{title} ...")
            yield self._print_sparsely
        self.done += 1
        self.console.print(f"[green]✓[/green] {title}  [dim]{time.monotonic() - start:.1f} s[/dim]")

    def _print_sparsely(self, share: float, words: str) -> None:
        if time.monotonic() - self._told > 5:
            self._told = time.monotonic()
            self.console.print(f"    {share:4.0%} {words}", markup=False)


class HostProcess:
    """Stands where kfp.local has its subprocess handler; runs the component's own command with this Python.

    The variables of this machine win over those compiled in for the cluster: here the store is a folder.
    """

    display: ClassVar[ProgressDisplay]
    last_line: ClassVar[str] = ""
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
        HostProcess.last_line = ""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "step.log"
        HostProcess.last_log = str(log)
        with HostProcess.display.show_step(step) as tell:
            code = self._stream_output(log, tell)
            if code:
                raise RuntimeError(f"{step} ended with code {code}")
        HostProcess.display.outputs[step.replace("-", "_")] = self._read_outputs()
        return status.Status.SUCCESS

    def _stream_output(self, log: Path, tell: Any) -> int:
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
                    self._read_line(line.rstrip("\n"), tell)
            except KeyboardInterrupt:
                child.terminate()
                raise
            return child.wait()

    def _read_line(self, line: str, tell: Any) -> None:
        match = _SHARE.fullmatch(line)
        if match:
            tell(int(match.group(1)) / 100, match.group(2))
        elif line.strip():
            HostProcess.last_line = line.strip()

    def _read_outputs(self) -> dict[str, Any]:
        declared = self.executor["outputs"]
        paths = {name: a["artifacts"][0]["uri"] for name, a in declared.get("artifacts", {}).items()}
        written = json.loads(Path(declared["outputFile"]).read_text())
        metrics = {name: a["artifacts"][0].get("metadata", {}) for name, a in written["artifacts"].items() if name == "metrics"}
        return {**paths, **written["parameterValues"], **metrics}


@contextlib.contextmanager
def use_host_processes(spec: dict[str, Any], board: Path | None = None) -> Iterator[ProgressDisplay]:
    """Puts HostProcess where kfp.local looks for its handler, for as long as a pipeline plays. `board`: see audiotune.runs.run_state."""
    from kfp.local import subprocess_task_handler

    names = {
        task["componentRef"]["name"].removeprefix("comp-"): task.get("taskInfo", {}).get("name", name)
        for name, task in spec["root"]["dag"]["tasks"].items()
    }
    HostProcess.display = ProgressDisplay(names, RunStateFile(board, RunForm.from_spec(spec).steps))
    before = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = HostProcess
    try:
        yield HostProcess.display
    finally:
        subprocess_task_handler.SubprocessTaskHandler = before


def use_line_buffering() -> None:
    """Lines leave at once also when the output goes to a file or a pipe."""
    for stream in (sys.stdout, sys.__stdout__):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


@contextlib.contextmanager
def silence_kfp() -> Iterator[None]:
    """kfp.local narrates every task at length; the steps' own words (Show writes past this) are enough."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
