"""What became of a job's webhook: every try with its answer, and when the next one is due. Kept in the store, so that a service
started anew, or another replica, goes on where the last one stopped, and the member can read it in the job.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from audiotune.errors import NotInStoreError
from audiotune.store.port import Store


class Try(BaseModel):
    """One try. `status`: what the other side answered, None when it did not; `problem`: why not, in words."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    status: int | None = None
    problem: str = ""

    @property
    def heard(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Telling(BaseModel):
    """All tries so far. `next`: when the next one is due, None when there is none."""

    model_config = ConfigDict(frozen=True)

    state: Literal["waiting", "told", "given up"] = "waiting"
    tries: tuple[Try, ...] = ()
    next: datetime | None = None


def telling(store: Store, member: str, id: str) -> Telling:
    try:
        return Telling.model_validate_json(store.get(_key(member, id)))
    except (NotInStoreError, ValidationError):
        return Telling()


def keep(store: Store, member: str, id: str, what: Telling) -> None:
    store.put(_key(member, id), what.model_dump_json(exclude_none=True).encode())


def forget(store: Store, member: str, id: str) -> None:
    store.delete(_key(member, id))


def _key(member: str, id: str) -> str:
    return f"jobs/told/{member}/{id}.json"
