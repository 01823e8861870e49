"""The board: how far a run on this machine is, as a small JSON file that another program may read at any time.

    {"steps": [{"name": "finetune", "title": "Fine-tune the model", "state": "running", "share": 0.4, "words": "step 40 of 100"}]}

`state` is waiting, running, done or failed. The file is whole at any moment; small steps of progress are written once a second.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiotune.runs.run_form import FormStep
from audiotune.store.atomic_files import write_atomic_file

_EVERY_S = 1.0


class RunStateFile:
    """Keeps the steps' states.

    Args:
        path: the file; None writes nothing.
        steps: in the order they are played.
    """

    def __init__(self, path: Path | None, steps: tuple[FormStep, ...]) -> None:
        self._path, self._written = path, 0.0
        self._steps: dict[str, dict[str, Any]] = {
            step.name: {"name": step.name, "title": step.title, "state": "waiting", "share": None, "words": ""} for step in steps
        }
        self._write_file()

    @contextlib.contextmanager
    def track_step(self, name: str) -> Iterator[None]:
        """A step for the time it runs; an error that passes through makes it failed."""
        self._update_step(name, state="running")
        try:
            yield
        except BaseException:
            self._update_step(name, state="failed")
            raise
        self._update_step(name, state="done", share=1.0, words="")

    def report_progress(self, name: str, share: float, words: str) -> None:
        """How far a running step is."""
        if name in self._steps:
            self._steps[name].update(share=share, words=words)
            if time.monotonic() - self._written >= _EVERY_S:
                self._write_file()

    def _update_step(self, name: str, **what: Any) -> None:
        if name in self._steps:
            self._steps[name].update(what)
            self._write_file()

    def _write_file(self) -> None:
        if self._path is not None:
            write_atomic_file(self._path, json.dumps({"steps": list(self._steps.values())}))
            self._written = time.monotonic()
