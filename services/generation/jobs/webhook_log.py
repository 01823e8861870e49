"""The log of a job's webhook: every attempt with its answer, and when the next one is due. It is kept in the store, so that a
restarted service or another replica goes on where the last one stopped, and the member can read it in the job.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class WebhookAttempt(BaseModel):
    """One attempt. `status`: what the receiver answered, None when it did not; `problem`: the reason, as a sentence."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    status: int | None = None
    problem: str = ""

    @property
    def was_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookLog(BaseModel):
    """All attempts so far. `next`: when the next one is due, None when there is none."""

    model_config = ConfigDict(frozen=True)

    state: Literal["waiting", "told", "given up"] = "waiting"
    tries: tuple[WebhookAttempt, ...] = ()
    next: datetime | None = None
