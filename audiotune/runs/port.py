"""The port to the place where pipelines run: start a run, read its progress, stop it, and find out why it failed.

Two kinds: `LocalRunner` (a detached process of this machine) and `KubeflowRunner` (Kubeflow's API). The studio, the demo and the
command line use them. A run continues without a program that follows it, and its name finds it again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from audiotune.domain.frozen_model import TolerantModel
from audiotune.errors import RunFailedError, RunUnfinishedError
from audiotune.runs.run_form import RunForm

RunOutcome = Literal["done", "failed", "cancelled", "lost"]


class RunStep(TolerantModel):
    """A step as people see it. `share`: its finished part in [0, 1]; None when only its state is known."""

    name: str = ""
    title: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    share: float | None = None
    words: str = ""


@dataclass(frozen=True)
class RunSnapshot:
    """The state of a run at one moment.

    Attributes:
        outcome: how it ended; None while it runs.
        words: why it failed: the failing step's last words.
        page: address of a page about it.
    """

    steps: tuple[RunStep, ...] = ()
    outcome: RunOutcome | None = None
    words: str = ""
    page: str = ""

    @property
    def share(self) -> float:
        """The finished part of the whole run, in [0, 1]; all steps count the same."""
        shares = (1.0 if step.state == "done" else step.share or 0.0 for step in self.steps)
        return sum(shares) / len(self.steps) if self.steps else 0.0


class PipelineRunner(Protocol):
    """Starts and follows the runs of one pipeline. All methods raise PipelineError."""

    @property
    def place(self) -> str:
        """In words, as in "on this machine"."""

    def read_form(self) -> RunForm:
        """The run form of the pipeline that would be started now."""

    def start(self, title: str, values: Mapping[str, Any]) -> str:
        """Starts a run and returns its name, which finds it again from any other process."""

    def read_snapshot(self, run: str) -> RunSnapshot: ...

    def stop(self, run: str) -> None:
        """Asks for its end; `read_snapshot` shows when it has ended."""

    def read_reports(self, run: str) -> dict[str, str]:
        """Step -> its HTML report. Empty where reports are shown elsewhere (the snapshot's `page`)."""


def follow_run(
    runner: PipelineRunner,
    run: str,
    show: Callable[[tuple[RunStep, ...]], None],
    *,
    every_s: float = 5.0,
    limit_s: float = 7 * 86_400,
) -> RunSnapshot:
    """Waits for a run's end and calls `show` with its steps whenever one of them has changed.

    Raises:
        RunFailedError: it failed; with the failing step's last words.
        RunUnfinishedError: it did not end in time; it continues.
    """
    until = time.monotonic() + limit_s
    shown: tuple[RunStep, ...] = ()
    while True:
        seen = runner.read_snapshot(run)
        if seen.steps != shown:
            shown = seen.steps
            show(shown)
        if seen.outcome == "done":
            return seen
        if seen.outcome is not None:
            raise RunFailedError(seen.words, where=seen.page, cure="mend it and start the run again")
        if time.monotonic() >= until:
            raise RunUnfinishedError(f"the run did not end within {limit_s:.0f} s", where=seen.page, cure="follow it again")
        time.sleep(every_s)
