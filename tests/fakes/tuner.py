"""A tuner of our own: shows what it was told to show, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping

from audiotune.errors import PipelineError
from audiotune.runs.run_form import RunForm
from services.studio.training_runner import TrainingSnapshot
from tests.fakes.local_program import FORM


class ScriptedTrainingRunner:
    """Shows `seen` at every look; raises `away` instead when it is set."""

    place = "in a test"

    def __init__(self, seen: TrainingSnapshot | None = None) -> None:
        self.seen, self.away = seen or TrainingSnapshot(), ""
        self.started: list[tuple[str, dict[str, str]]] = []
        self.cancelled: list[str] = []

    def read_form(self) -> RunForm:
        return FORM

    def start(self, title: str, given: Mapping[str, str]) -> str:
        self._answer()
        self.started.append((title, dict(given)))
        return f"run {len(self.started)}"

    def read_snapshot(self, run: str) -> TrainingSnapshot:
        self._answer()
        return self.seen

    def cancel(self, run: str) -> None:
        self._answer()
        self.cancelled.append(run)

    def _answer(self) -> None:
        if self.away:
            raise PipelineError(self.away)
