"""What the store keeps of a run that a member began, in a folder of its own, for trainings and for uploads alike:

    begun.json    who began it, when and where; only one can be written, so two studios cannot begin at once
    run.json      the runner's name of the run, which finds it again
    cancel.json   who asked for its end
    ended.json    how it ended; written once

How far a run is, is asked of its runner each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiotune.errors import AlreadyInStoreError, AudioTuneError, NotInStoreError
from audiotune.runs.port import PipelineRunner, RunOutcome
from audiotune.store.port import Store

_START_S = 120.0  # a run that has no name after so many seconds never began


def read_clock() -> datetime:
    return datetime.now(UTC)


class RunStart(BaseModel):
    """What a member began."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    member: str
    time: datetime
    place: str


class RunEnd(BaseModel):
    """How it ended. `by`: who cancelled it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: datetime
    how: RunOutcome
    words: str = ""
    by: str = ""
    page: str = ""


class RunNote(BaseModel):
    """A small fact with a time: the name of the run, or who asked for its end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    word: str
    time: datetime = Field(default_factory=read_clock)


_Record = TypeVar("_Record", bound=BaseModel)
_End = TypeVar("_End", bound=RunEnd)


class RunFolder:
    """The records of one run.

    Args:
        key: the folder's key, with `/` at its end.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key

    def write_start(self, start: RunStart) -> None:
        """Raises AlreadyInStoreError when somebody else was quicker."""
        self._write_record("begun.json", start)

    def start_run(self, runner: PipelineRunner, title: str, values: Mapping[str, Any], end: Callable[[str], RunEnd]) -> None:
        """Starts the run whose start was written. When the runner refuses, `end` of its words is how the run ended."""
        try:
            run = runner.start(title, values)
        except BaseException as e:
            self.write_end(end(str(e) if isinstance(e, AudioTuneError) else "it could not be started"))
            raise
        self._write_record("run.json", RunNote(word=run))

    def stop_run(self, runner: PipelineRunner, member: str) -> None:
        """Asks for the run's end."""
        if run := self.read_name():
            runner.stop(run)
        self._store.put(f"{self._key}cancel.json", RunNote(word=member).model_dump_json(indent=1).encode())

    def write_end(self, end: _End) -> _End:
        """Writes how it ended, once; who comes second takes what the first one wrote."""
        try:
            self._write_record("ended.json", end)
        except AlreadyInStoreError:
            return self.read_end(type(end)) or end
        return end

    def read_start(self, kind: type[_Record]) -> _Record | None:
        return self._read_record("begun.json", kind)

    def read_end(self, kind: type[_Record]) -> _Record | None:
        return self._read_record("ended.json", kind)

    def read_name(self) -> str:
        """The runner's name of the run; empty when it has none (yet)."""
        run = self._read_record("run.json", RunNote)
        return run.word if run else ""

    def read_canceller(self) -> str:
        """Who asked for its end; empty for nobody."""
        cancel = self._read_record("cancel.json", RunNote)
        return cancel.word if cancel else ""

    def _write_record(self, name: str, record: BaseModel) -> None:
        self._store.put(self._key + name, record.model_dump_json(indent=1).encode(), only_new=True)

    def _read_record(self, name: str, kind: type[_Record]) -> _Record | None:
        try:
            return kind.model_validate_json(self._store.get(self._key + name))
        except (NotInStoreError, ValidationError):
            return None


def never_began(start: RunStart) -> bool:
    """Whether a run without a name was given up: the studio that started it was stopped meanwhile."""
    return (read_clock() - start.time).total_seconds() >= _START_S


@dataclass(frozen=True)
class RunRights:
    """Who may start and stop runs. A release is not published by being made: the gate and everybody's consent come after.

    Attributes:
        by: members: everybody who has not left; owners: only they, as graphics cards cost money.
        signs_in: without sign-in nobody is an owner, and whoever reaches the page may stop a run.
    """

    by: Literal["members", "owners"]
    signs_in: bool
    owns: Callable[[str], bool]

    def explain_refusal(self, member: str) -> str:
        """Why this member may not start one; empty when they may. `member` is "" for somebody who may not act."""
        if not member:
            return "Choose who you are at the top of the page first." if not self.signs_in else "You are no member of the group."
        if self.by == "owners" and not self.owns(member):
            return "In this group owners start a training; ask one of them."
        return ""

    def may_cancel(self, member: str, start: RunStart) -> bool:
        return bool(member) and (not self.signs_in or member == start.member or self.owns(member))
