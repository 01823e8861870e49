"""The store's records of a run that a member started, in a folder of its own, for trainings and for uploads:

    begun.json    who started it, when and where; only one can be written, so two studios cannot start at once
    run.json      the runner's name of the run, which finds it again
    cancel.json   who asked for its end
    ended.json    how it ended; written once

The progress of a run is not recorded: its runner is asked each time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import TolerantModel
from audiotune.errors import AlreadyInStoreError, AudioTuneError, NotInStoreError
from audiotune.runs.port import PipelineRunner, RunOutcome, RunSnapshot
from audiotune.store.port import Store

_START_S = 120.0  # a run without a name after so many seconds never started: the studio that started it was stopped meanwhile


def read_clock() -> datetime:
    return datetime.now(UTC)


class _RunRecord(TolerantModel):
    time: datetime = Field(default_factory=read_clock)


class RunStart(_RunRecord):
    """The start of a run by a member."""

    member: str
    place: str


class RunEnd(_RunRecord):
    """How a run ended. `by`: who cancelled it."""

    how: RunOutcome
    words: str = ""
    by: str = ""
    page: str = ""


class RunNote(_RunRecord):
    """A small fact with a time: the name of the run, or who asked for its end."""

    word: str


_Record = TypeVar("_Record", bound=_RunRecord)
_End = TypeVar("_End", bound=RunEnd)
BuildEnd = Callable[[RunSnapshot, str], _End]  # from the last snapshot of a run and the member who cancelled it, "" for nobody


@dataclass(frozen=True)
class RunView(Generic[_End]):
    """A run as the store and its runner show it now.

    Attributes:
        cancelled_by: who asked for its end; "" for nobody.
        seen: the runner's snapshot; an empty one when the run has ended before, has no name yet or cannot be looked at.
        trouble: why the runner cannot look at it; the run continues nevertheless.
    """

    cancelled_by: str
    seen: RunSnapshot
    end: _End | None
    trouble: str = ""


class RunFolder:
    """The records of one run.

    Args:
        key: the folder's key, with `/` at its end.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key

    def write_start(self, start: RunStart) -> None:
        """Raises AlreadyInStoreError when another studio has started this run."""
        self._write_record("begun.json", start)

    def start_run(self, runner: PipelineRunner, title: str, values: Mapping[str, Any], build_end: BuildEnd[_End]) -> None:
        """Starts the run whose start was written. When the runner refuses, its words are written as the run's end."""
        try:
            run = runner.start(title, values)
        except BaseException as e:
            words = str(e) if isinstance(e, AudioTuneError) else "it could not be started"
            self._write_end(build_end(RunSnapshot(outcome="failed", words=words), ""))
            raise
        self._write_record("run.json", RunNote(word=run))

    def stop_run(self, runner: PipelineRunner, member: str) -> None:
        """Asks for the run's end."""
        if run := self.read_name():
            runner.stop(run)
        self._write_record("cancel.json", RunNote(word=member), only_new=False)

    def view_run(self, runner: PipelineRunner, start: RunStart, kind: type[_End], build_end: BuildEnd[_End]) -> RunView[_End]:
        """The run as it is now; writes its end when it has ended since the last look."""
        cancelled_by, end = self._read_word("cancel.json"), self.read_end(kind)
        if end is not None:
            return RunView(cancelled_by, RunSnapshot(), end)
        run = self.read_name()
        if run:
            try:
                seen = runner.read_snapshot(run)
            except AudioTuneError as e:
                return RunView(cancelled_by, RunSnapshot(), None, f"it cannot be looked at just now: {e}")
        elif (read_clock() - start.time).total_seconds() < _START_S:
            seen = RunSnapshot()
        else:
            words = f"the studio was stopped while it started the run; look {start.place} whether one is left"
            seen = RunSnapshot(outcome="lost", words=words)
        if seen.outcome is not None:
            end = self._write_end(build_end(seen, cancelled_by if run else ""))
        return RunView(cancelled_by, seen, end)

    def read_start(self, kind: type[_Record]) -> _Record | None:
        return self._read_record("begun.json", kind)

    def read_end(self, kind: type[_Record]) -> _Record | None:
        return self._read_record("ended.json", kind)

    def read_name(self) -> str:
        """The runner's name of the run; "" when it has none (yet)."""
        return self._read_word("run.json")

    def _read_word(self, name: str) -> str:
        note = self._read_record(name, RunNote)
        return note.word if note else ""

    def _write_end(self, end: _End) -> _End:
        """Writes the end once; returns the one that another studio has written before."""
        try:
            self._write_record("ended.json", end)
        except AlreadyInStoreError:
            return self.read_end(type(end)) or end
        return end

    def _write_record(self, name: str, record: _RunRecord, *, only_new: bool = True) -> None:
        self._store.put(self._key + name, record.model_dump_json(indent=1).encode(), only_new=only_new)

    def _read_record(self, name: str, kind: type[_Record]) -> _Record | None:
        try:
            return kind.model_validate_json(self._store.get(self._key + name))
        except (NotInStoreError, ValidationError):
            return None


@dataclass(frozen=True)
class RunRights:
    """Who may start and stop runs. A training publishes no release: the gate and everybody's consent come after it.

    Attributes:
        by: members: everybody who has not left; owners: owners only, as graphics cards cost money.
        signs_in: whether members sign in; without it nobody is an owner, and everybody who reaches the page may stop a run.
    """

    by: Literal["members", "owners"]
    signs_in: bool
    owns: Callable[[str], bool]

    def explain_refusal(self, member: str) -> str:
        """Why this member may not start a run; "" when they may. `member` is "" for somebody who may not act."""
        if not member:
            return "Choose who you are at the top of the page first." if not self.signs_in else "You are no member of the group."
        if self.by == "owners" and not self.owns(member):
            return "In this group owners start a training; ask one of them."
        return ""

    def may_cancel(self, member: str, start: RunStart) -> bool:
        return bool(member) and (not self.signs_in or member == start.member or self.owns(member))
