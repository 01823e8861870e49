"""What a job is: a sequence of numbered events, each written only if its number is free. The state follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from audiotune.domain.generation import GenerationRecord, GenerationRequest

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
ID = r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}"


class JobEvent(BaseModel):
    """One thing that happened to a job.

    Attributes:
        kind: made (always number 0), claimed by a worker, handed back by it, or one of the three ends.
        worker: who wrote a claim, a hand-back or an end.
        request, digest, webhook: with `made`: the request, its SHA-256, and the address for the job's end.
        sounds: with `done`.
        problem: with `failed`: problem+json.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["made", "claimed", "back", "done", "failed", "cancelled"]
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    worker: str = ""
    request: GenerationRequest | None = None
    digest: str = ""
    webhook: str = ""
    sounds: tuple[GenerationRecord, ...] = ()
    problem: dict[str, Any] | None = None


class GenerationJob(BaseModel):
    """A job as its events describe it. `length`: how many events there are, which is the number of the next one."""

    model_config = ConfigDict(frozen=True)

    member: str
    id: str
    state: JobState
    length: int
    made: datetime
    changed: datetime
    request: GenerationRequest
    digest: str
    webhook: str = ""
    worker: str = ""
    tries: int = Field(default=0, description="claims that were not handed back")
    handed_back: int = 0
    sounds: tuple[GenerationRecord, ...] = ()
    problem: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def stamp(self) -> str:
        """Its place in time, as keys have it: they sort by it."""
        return f"{self.made:%Y%m%dT%H%M%S%f}"


_STATES: dict[str, JobState] = {"made": "queued", "claimed": "running", "back": "queued"}


def job_from_events(member: str, id: str, events: Sequence[JobEvent]) -> GenerationJob:
    """The job behind its events, the first of which is `made`."""
    first, last = events[0], events[-1]
    assert first.request is not None
    state: JobState = _STATES.get(last.kind, last.kind)  # type: ignore[arg-type]
    return GenerationJob(
        member=member,
        id=id,
        state=state,
        length=len(events),
        made=first.at,
        changed=last.at,
        request=first.request,
        digest=first.digest,
        webhook=first.webhook,
        worker=last.worker if state == "running" else "",
        tries=sum((event.kind == "claimed") - (event.kind == "back") for event in events),
        handed_back=sum(event.kind == "back" for event in events),
        sounds=last.sounds,
        problem=last.problem,
    )
