"""The state file of a run on this machine: its progress, as small JSON that another program may read at any time.

    {"steps": [{"name": "finetune", "title": "Fine-tune the model", "state": "running", "share": 0.4, "words": "step 40 of 100"}]}

`state` is waiting, running, done or failed. The file is replaced atomically; progress within a step is written once a second.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from audiotune.runs.port import RunStep
from audiotune.runs.run_form import FormStep
from audiotune.store.atomic_files import write_atomic_file

_EVERY_S = 1.0


class RunStateFile:
    """Keeps the steps' states.

    Args:
        path: the file; None writes nothing.
        steps: in the order in which they run.
        show: is called at every change.
    """

    def __init__(
        self, path: Path | None, steps: tuple[FormStep, ...], show: Callable[[tuple[RunStep, ...]], None] | None = None
    ) -> None:
        self._path, self._show, self._written = path, show, 0.0
        self._steps = {step.name: RunStep(name=step.name, title=step.title) for step in steps}
        self._write_file()

    @contextlib.contextmanager
    def track_step(self, name: str) -> Iterator[None]:
        """Marks a step as running in the `with` block, then as done, or as failed after an error."""
        self._update_step(name, state="running")
        try:
            yield
        except BaseException:
            self._update_step(name, state="failed")
            raise
        self._update_step(name, state="done", share=1.0, words="")

    def report_progress(self, name: str, share: float, words: str) -> None:
        """Records the progress of a running step."""
        self._update_step(name, at_once=False, share=share, words=words)

    def _update_step(self, name: str, *, at_once: bool = True, **changes: Any) -> None:
        if name in self._steps:
            self._steps[name] = self._steps[name].model_copy(update=changes)
            if self._show:
                self._show(tuple(self._steps.values()))
            if at_once or time.monotonic() - self._written >= _EVERY_S:
                self._write_file()

    def _write_file(self) -> None:
        if self._path is not None:
            write_atomic_file(self._path, json.dumps({"steps": [step.model_dump() for step in self._steps.values()]}))
            self._written = time.monotonic()


def read_run_steps(path: Path) -> tuple[RunStep, ...]:
    """The steps as the file shows them; none before the run has begun."""
    try:
        return tuple(RunStep.model_validate(step) for step in json.loads(path.read_text())["steps"])
    except (OSError, ValueError, KeyError):
        return ()
