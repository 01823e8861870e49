"""A fake pipeline runner: reports the states that a test sets, and records its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotune.errors import PipelineError
from audiotune.runs.port import RunSnapshot
from audiotune.runs.run_form import RunForm
from tests.fakes.local_program import FORM


class ScriptedRunner:
    """Shows `seen` at every look; raises `away` instead when it is set."""

    place = "in a test"

    def __init__(self, seen: RunSnapshot | None = None, reports: dict[str, str] | None = None) -> None:
        self.seen, self.reports, self.away = seen or RunSnapshot(), reports or {}, ""
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.stopped: list[str] = []

    def read_form(self) -> RunForm:
        return FORM

    def start(self, title: str, values: Mapping[str, Any]) -> str:
        self._answer()
        self.started.append((title, dict(values)))
        return f"run {len(self.started)}"

    def read_snapshot(self, run: str) -> RunSnapshot:
        self._answer()
        return self.seen

    def stop(self, run: str) -> None:
        self._answer()
        self.stopped.append(run)

    def read_reports(self, run: str) -> dict[str, str]:
        self._answer()
        return self.reports

    def _answer(self) -> None:
        if self.away:
            raise PipelineError(self.away)
