"""The tuner port: the studio asks for a new release; where `tune` runs is the tuner's business. And the cards that tell of a run.

Two kinds: `MachineTuner` (a process on this machine) and `KubeflowTuner` (over HTTP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from audiotune.runs.run_form import RunForm
from audiotune.store.layout import TRAININGS

TrainingOutcome = Literal["done", "failed", "cancelled", "lost"]


class TrainingStep(BaseModel):
    """A step as people see it. `share` in [0, 1]; None when only its state is known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    share: float | None = None
    words: str = ""


@dataclass(frozen=True)
class TrainingSnapshot:
    """What one look at a run told.

    Attributes:
        how: how it ended; None while it runs.
        words: why it did not end well, one sentence.
        page: address where people see more of it.
    """

    steps: tuple[TrainingStep, ...] = ()
    how: TrainingOutcome | None = None
    words: str = ""
    page: str = ""


class TrainingRunner(Protocol):
    """Where `tune` runs. All calls raise PipelineError in words; a run goes on whether somebody looks or not."""

    @property
    def place(self) -> str:
        """In words, as in "on this machine"."""

    def read_form(self) -> RunForm:
        """The run form of the pipeline that would be started now."""

    def start(self, title: str, given: Mapping[str, str]) -> str:
        """Starts a run and returns what finds it again, also after the studio was started anew."""

    def read_snapshot(self, run: str) -> TrainingSnapshot: ...

    def cancel(self, run: str) -> None:
        """Asks for its end; `look` tells when it has ended."""


class TrainingStart(BaseModel):
    """What a member began."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    member: str
    time: datetime
    place: str
    name: str
    given: dict[str, str]
    steps: tuple[TrainingStep, ...]
    known: tuple[str, ...] = ()  # keys of releases of this name that were there before

    @property
    def folder(self) -> str:
        return TRAININGS.folder(f"{self.number:06d}")


class TrainingEnd(BaseModel):
    """How it ended. `release` is the digest of what came out, `by` who cancelled it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: datetime
    how: TrainingOutcome
    words: str = ""
    by: str = ""
    release: str = ""
    new: bool = True
    steps: tuple[TrainingStep, ...] = ()
    page: str = ""


class TrainingNote(BaseModel):
    """A small fact with a word and a time: where it runs, or who asked for its end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    word: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class TrainingStatus:
    """The newest run. `trouble` says why it could not be looked at; it goes on nevertheless."""

    begun: TrainingStart
    steps: tuple[TrainingStep, ...] = ()
    ended: TrainingEnd | None = None
    cancelled_by: str = ""
    page: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class TrainingRights:
    """Who may start and cancel. A release is not published by being made: the gate and everybody's consent come after.

    Attributes:
        by: members: everybody who has not left; owners: only they, as graphics cards cost money.
        signs_in: without sign-in nobody is an owner, and whoever reaches the page may cancel.
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

    def may_cancel(self, member: str, begun: TrainingStart) -> bool:
        return bool(member) and (not self.signs_in or member == begun.member or self.owns(member))
