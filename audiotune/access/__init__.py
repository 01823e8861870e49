"""Authentication of members: tokens for programs, accounts with passwords for people. The store keeps both hashed.

`AUDIOTUNE_ACCESS=members` requires them; `open`, the default, is for a machine that one person uses.
"""

from __future__ import annotations

import os
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audiotune.errors import NotInStoreError, SettingsError
from audiotune.store.layout import Prefix
from audiotune.store.port import Store

VARIABLE = "AUDIOTUNE_ACCESS"
Record = TypeVar("Record", bound=BaseModel)


def requires_authentication() -> bool:
    """Whether members must sign in. Raises SettingsError: AUDIOTUNE_ACCESS is neither `open` nor `members`."""
    value = os.environ.get(VARIABLE) or "open"
    if value not in ("open", "members"):
        raise SettingsError(f"{VARIABLE} is {value!r}", cure="set it to open or members")
    return value == "members"


def read_record(store: Store, key: str, kind: type[Record]) -> Record | None:
    """The record at a key; None when there is none, or it is damaged."""
    try:
        return kind.model_validate_json(store.get(key))
    except (NotInStoreError, ValidationError):
        return None


def list_records(store: Store, prefix: Prefix, kind: type[Record]) -> list[Record]:
    """All records under a prefix in key order, without damaged ones."""
    records = (read_record(store, entry.key, kind) for entry in store.list(prefix.path))
    return [record for record in records if record is not None]
