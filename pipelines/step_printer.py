"""What a person sees of a run: a line for each step while it runs (a bar on a terminal, sparse lines in a log), and one when done."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from audiotune.runs.port import RunStep

_EVERY_S = 5.0  # between two lines of progress in a log


class StepPrinter:
    """Prints the steps of one run as they change. Use it in a `with`: a bar on a terminal must be taken away at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[str, float] = {}
        self._done: set[str] = set()
        self._printed = 0.0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> StepPrinter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end_bar()

    def show_steps(self, steps: tuple[RunStep, ...]) -> None:
        """Prints what is new. Call it with all steps whenever one of them has changed."""
        for number, step in enumerate(steps, 1):
            title = f"{number}/{len(steps)} {step.title}"
            if step.state in ("running", "done") and step.name not in self._started:
                self._start_step(step, title)
            if step.state == "running" and step.share is not None:
                self._show_progress(step.share, step.words)
            if step.state == "done" and step.name not in self._done:
                self._done.add(step.name)
                self._end_bar()
                took_s = time.monotonic() - self._started[step.name]
                self._console.print(f"[green]✓[/green] {title}  [dim]{took_s:.1f} s[/dim]")

    def _start_step(self, step: RunStep, title: str) -> None:
        self._started[step.name] = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{title} ...")
            return
        words = TextColumn("{task.fields[words]}")
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), words, TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(title, total=1.0, words="starting")
        self._bar.start()

    def _show_progress(self, share: float, words: str) -> None:
        if self._bar:
            self._bar.update(self._task, completed=share, words=words[:60])
        elif time.monotonic() - self._printed > _EVERY_S:
            self._printed = time.monotonic()
            self._console.print(f"    {share:4.0%} {words}", markup=False)

    def _end_bar(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
