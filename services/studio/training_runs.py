"""Trainings: one run of the pipeline `tune` at a time for the group, recorded in the store so that no page can lose it.

The records of run 3 are under `tunings/000003/` (services.studio.run_records). Does not import gradio.
"""

import functools
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from audiotune.domain.release import Release
from audiotune.errors import AlreadyInStoreError, ForbiddenError, PipelineError, SettingsError
from audiotune.runs.port import PipelineRunner, RunSnapshot, RunStep
from audiotune.runs.run_form import RunForm
from audiotune.store.layout import RELEASES, TRAININGS
from audiotune.store.port import Store
from services.studio.run_records import RunEnd, RunFolder, RunRights, RunStart

NAME = "training_name"
_BEGUN = TRAININGS.compile(r"(\d{6})/begun\.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class TrainingStart(RunStart):
    """The start of a training."""

    number: int
    name: str
    given: dict[str, str]
    steps: tuple[RunStep, ...]
    known: tuple[str, ...] = ()  # keys of the releases of this name before the training


class TrainingEnd(RunEnd):
    """How a training ended. `release` is the digest of the new release."""

    release: str = ""
    new: bool = True
    steps: tuple[RunStep, ...] = ()


@dataclass(frozen=True)
class TrainingStatus:
    """The newest run. `trouble` says why the runner cannot look at it; the run continues nevertheless."""

    begun: TrainingStart
    steps: tuple[RunStep, ...] = ()
    ended: TrainingEnd | None = None
    cancelled_by: str = ""
    page: str = ""
    trouble: str = ""


class TrainingRuns:
    """The group's runs of `tune`.

    Args:
        every_s: seconds for which a status is answered from memory, for all pages together.
    """

    def __init__(self, store: Store, runner: PipelineRunner, rights: RunRights, every_s: float = 2.0) -> None:
        self._store, self.runner, self.rights, self._every_s = store, runner, rights, every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, TrainingStatus | None] | None = None

    def start_run(self, member: str, given: Mapping[str, Any]) -> None:
        """Starts a run. Raises ForbiddenError; SettingsError for a wrong value; PipelineError when one is running or it cannot start."""
        if refusal := self.rights.explain_refusal(member):
            raise ForbiddenError(refusal.rstrip("."))
        form = self.runner.read_form()
        values = form.check_values(given)
        name = values.get(NAME) or str(getattr(form.find_field(NAME), "default", "") or "")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name[:60]!r} is no name for a release", cure="use letters, digits, '_', '-' and '.'")
        with self._lock:
            begun = self._claim_number(member, name, values, form)
            self._seen = None
            title = f"{name}, begun by {member} (studio {begun.number})"
            self._open_folder(begun.number).start_run(self.runner, title, values, functools.partial(self._build_end, begun))

    def read_status(self) -> TrainingStatus | None:
        """The newest run, read again when the last status is old. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                self._seen = (time.monotonic(), self._read_newest_status())
            return self._seen[1]

    def cancel_run(self, member: str) -> None:
        """Asks for the end of the running training. Raises ForbiddenError; PipelineError when none is running."""
        with self._lock:
            self._seen = None
            begun = self._find_newest_start()
            folder = self._open_folder(begun.number) if begun else None
            if begun is None or folder is None or folder.read_end(TrainingEnd):
                raise PipelineError("no training is running", cure="load the page again")
            if not self.rights.may_cancel(member, begun):
                raise ForbiddenError("only who began it and owners may cancel it", cure=f"ask {begun.member}")
            folder.stop_run(self.runner, member)

    def _claim_number(self, member: str, name: str, values: dict[str, str], form: RunForm) -> TrainingStart:
        last = self._read_newest_status()
        if last is not None and last.ended is None:
            raise PipelineError(f"one training runs at a time, and {last.begun.member} began one", cure="wait for its end")
        begun = TrainingStart(
            number=(last.begun.number if last else 0) + 1,
            member=member,
            place=self.runner.place,
            name=name,
            given=values,
            steps=tuple(RunStep(name=step.name, title=step.title) for step in form.steps),
            known=tuple(self._list_release_keys(name)),
        )
        try:
            self._open_folder(begun.number).write_start(begun)
        except AlreadyInStoreError:
            raise PipelineError("somebody else began a training just now", cure="load the page again") from None
        return begun

    def _read_newest_status(self) -> TrainingStatus | None:
        begun = self._find_newest_start()
        if begun is None:
            return None
        view = self._open_folder(begun.number).view_run(
            self.runner, begun, TrainingEnd, functools.partial(self._build_end, begun)
        )
        if view.end is not None:
            return TrainingStatus(begun, view.end.steps, view.end, view.cancelled_by, view.end.page)
        return TrainingStatus(begun, view.seen.steps or begun.steps, None, view.cancelled_by, view.seen.page, view.trouble)

    def _build_end(self, begun: TrainingStart, seen: RunSnapshot, by: str) -> TrainingEnd:
        how = "cancelled" if by and seen.outcome != "done" else seen.outcome or "lost"
        words = "" if how == "cancelled" else seen.words
        release, new = self._find_new_release(begun) if how == "done" else ("", False)
        stopped = {"state": "failed"}
        steps = (step.model_copy(update=stopped) if step.state == "running" else step for step in seen.steps or begun.steps)
        return TrainingEnd(how=how, words=words, by=by, release=release, new=new, steps=tuple(steps), page=seen.page)

    def _find_new_release(self, begun: TrainingStart) -> tuple[str, bool]:
        """Digest of the training's release, and whether it is new; equal weights keep their version."""
        present = self._list_release_keys(begun.name)
        new = {key: at for key, at in present.items() if key not in begun.known}
        newest = max(new or present, key=lambda key: present[key], default=None)
        if newest is None:
            return "", False
        try:
            return Release.model_validate_json(self._store.get(newest)).digest, bool(new)
        except ValidationError:
            return "", False

    def _list_release_keys(self, name: str) -> dict[str, datetime]:
        return {e.key: e.modified for e in self._store.list(RELEASES.folder(name)) if e.key.endswith(".json")}

    def _find_newest_start(self) -> TrainingStart | None:
        numbers = [int(match[1]) for entry in self._store.list(TRAININGS.path) if (match := _BEGUN.fullmatch(entry.key))]
        return self._open_folder(max(numbers)).read_start(TrainingStart) if numbers else None

    def _open_folder(self, number: int) -> RunFolder:
        return RunFolder(self._store, TRAININGS.folder(f"{number:06d}"))
