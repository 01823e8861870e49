"""Making a new release: one run of the pipeline `tune` at a time for the group, kept in the store so that no page can lose it.

    tunings/000003/begun.json    who began it, when, with which choices; only one can be written: two cannot begin at once
    tunings/000003/run.json      where it runs: what the tuner needs to find it again
    tunings/000003/cancel.json   who asked for its end
    tunings/000003/ended.json    how it ended

How far it is, is asked of where it runs, each time. Knows no gradio.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audiotune.domain.release import Release
from audiotune.errors import AlreadyInStoreError, AudioTuneError, ForbiddenError, NotInStoreError, PipelineError, SettingsError
from audiotune.runs.run_form import RunForm
from audiotune.store.layout import RELEASES, TRAININGS
from audiotune.store.port import Store
from services.studio.training_runner import (
    TrainingEnd,
    TrainingNote,
    TrainingOutcome,
    TrainingRights,
    TrainingRunner,
    TrainingSnapshot,
    TrainingStart,
    TrainingStatus,
    TrainingStep,
)

_BEGUN = TRAININGS.compile(r"(\d{6})/begun\.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
NAME = "training_name"
_START_S = 120.0  # a run that has no place after so many seconds never began


class TrainingRuns:
    """The group's runs of `tune`.

    Args:
        every_s: looks are answered from memory for so many seconds, however many pages ask.
    """

    def __init__(self, store: Store, tuner: TrainingRunner, rights: TrainingRights, every_s: float = 2.0) -> None:
        self._store, self.tuner, self.rights, self._every_s = store, tuner, rights, every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, TrainingStatus | None] | None = None

    def start_run(self, member: str, given: Mapping[str, Any]) -> None:
        """Starts a run.

        Raises:
            ForbiddenError: this member may not.
            SettingsError: a choice the form does not have.
            PipelineError: one is running, or it cannot be started where runs happen.
        """
        if against := self.rights.explain_refusal(member):
            raise ForbiddenError(against.rstrip("."))
        form = self.tuner.read_form()
        values = form.check_values(given)
        name = values.get(NAME) or str(getattr(form.find_field(NAME), "default", "") or "")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name[:60]!r} is no name for a release", cure="use letters, digits, '_', '-' and '.'")
        with self._lock:
            begun = self._claim_number(member, name, values, form)
            self._seen = None
            try:
                run = self.tuner.start(f"{name}, begun by {member} (studio {begun.number})", values)
            except BaseException as e:
                words = str(e) if isinstance(e, AudioTuneError) else "it could not be started"
                self._write_end(begun, TrainingEnd(time=_read_clock(), how="failed", words=words, steps=begun.steps))
                raise
            self._write_record(begun.folder + "run.json", TrainingNote(word=run))

    def read_status(self) -> TrainingStatus | None:
        """The newest run, looked at anew when the last look is old. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                self._seen = (time.monotonic(), self._read_newest_status())
            return self._seen[1]

    def cancel_run(self, member: str) -> None:
        """Asks for the running one's end.

        Raises:
            ForbiddenError: it is somebody else's.
            PipelineError: none is running, or where it runs does not answer.
        """
        with self._lock:
            self._seen = None
            begun = self._find_newest_start()
            if begun is None or self._read_record(begun.folder + "ended.json", TrainingEnd):
                raise PipelineError("no training is running", cure="load the page again")
            if not self.rights.may_cancel(member, begun):
                raise ForbiddenError("only who began it and owners may cancel it", cure=f"ask {begun.member}")
            run = self._read_record(begun.folder + "run.json", TrainingNote)
            if run is not None:
                self.tuner.cancel(run.word)
            self._write_record(begun.folder + "cancel.json", TrainingNote(word=member))

    def _claim_number(self, member: str, name: str, values: dict[str, str], form: RunForm) -> TrainingStart:
        last = self._read_newest_status()
        if last is not None and last.ended is None:
            raise PipelineError(f"one training runs at a time, and {last.begun.member} began one", cure="wait for its end")
        begun = TrainingStart(
            number=(last.begun.number if last else 0) + 1, member=member, time=_read_clock(), place=self.tuner.place, name=name,
            given=values, steps=tuple(TrainingStep(title=step.title) for step in form.steps), known=tuple(self._list_release_keys(name)),
        )  # fmt: skip
        try:
            self._write_record(begun.folder + "begun.json", begun)
        except AlreadyInStoreError:
            raise PipelineError("somebody else began a training just now", cure="load the page again") from None
        return begun

    def _read_newest_status(self) -> TrainingStatus | None:
        begun = self._find_newest_start()
        if begun is None:
            return None
        cancel = self._read_record(begun.folder + "cancel.json", TrainingNote)
        by = cancel.word if cancel else ""
        ended = self._read_record(begun.folder + "ended.json", TrainingEnd)
        if ended is not None:
            return TrainingStatus(begun, ended.steps, ended, by, ended.page)
        run = self._read_record(begun.folder + "run.json", TrainingNote)
        if run is None:
            return self._handle_unplaced_run(begun)
        try:
            seen = self.tuner.read_snapshot(run.word)
        except AudioTuneError as e:
            return TrainingStatus(begun, begun.steps, None, by, trouble=f"It cannot be looked at just now: {e}.")
        steps = seen.steps or begun.steps
        if seen.how is None:
            return TrainingStatus(begun, steps, None, by, seen.page)
        return TrainingStatus(begun, steps, self._write_end(begun, self._build_end(begun, seen, steps, by)), by, seen.page)

    def _handle_unplaced_run(self, begun: TrainingStart) -> TrainingStatus:
        if (_read_clock() - begun.time).total_seconds() < _START_S:
            return TrainingStatus(begun, begun.steps)
        words = f"the studio was stopped while it started the run; look {begun.place} whether one is left"
        return TrainingStatus(
            begun,
            begun.steps,
            self._write_end(begun, TrainingEnd(time=_read_clock(), how="lost", words=words, steps=begun.steps)),
        )

    def _build_end(self, begun: TrainingStart, seen: TrainingSnapshot, steps: tuple[TrainingStep, ...], by: str) -> TrainingEnd:
        how: TrainingOutcome = "cancelled" if by and seen.how in ("failed", "cancelled", "lost") else seen.how or "lost"
        words = "" if how == "cancelled" else seen.words
        release, new = self._find_new_release(begun) if how == "done" else ("", False)
        steps = tuple(step.model_copy(update={"state": "failed"}) if step.state == "running" else step for step in steps)
        return TrainingEnd(time=_read_clock(), how=how, words=words, by=by, release=release, new=new, steps=steps, page=seen.page)

    def _find_new_release(self, begun: TrainingStart) -> tuple[str, bool]:
        """Digest of the release that came out, and whether it is new; the same weights keep the version they have."""
        there = self._list_release_keys(begun.name)
        new = {key: at for key, at in there.items() if key not in begun.known}
        newest = max(new or there, key=lambda key: there[key], default=None)
        if newest is None:
            return "", False
        try:
            return Release.model_validate_json(self._store.get(newest)).digest, bool(new)
        except ValidationError:
            return "", False

    def _list_release_keys(self, name: str) -> dict[str, datetime]:
        return {e.key: e.modified for e in self._store.list(RELEASES.folder(name)) if e.key.endswith(".json")}

    def _write_end(self, begun: TrainingStart, ended: TrainingEnd) -> TrainingEnd:
        """Writes how it ended, once; who comes second takes the first one's word."""
        try:
            self._write_record(begun.folder + "ended.json", ended)
        except AlreadyInStoreError:
            return self._read_record(begun.folder + "ended.json", TrainingEnd) or ended
        return ended

    def _find_newest_start(self) -> TrainingStart | None:
        keys = [entry.key for entry in self._store.list(TRAININGS.path) if _BEGUN.fullmatch(entry.key)]
        return self._read_record(keys[-1], TrainingStart) if keys else None

    def _write_record(self, key: str, what: BaseModel) -> None:
        again = key.endswith("/cancel.json")
        self._store.put(key, what.model_dump_json(indent=1).encode(), only_new=not again)

    def _read_record(self, key: str, kind: type[_Record]) -> _Record | None:
        try:
            return kind.model_validate_json(self._store.get(key))
        except (NotInStoreError, ValidationError):
            return None


_Record = TypeVar("_Record", bound=BaseModel)


def _read_clock() -> datetime:
    return datetime.now(UTC)
