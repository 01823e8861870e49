"""The base classes of the data types that are stored or sent: their values cannot change, and unknown fields are errors or ignored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Data that is checked when it is made and does not change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TolerantModel(FrozenModel):
    """Frozen data that another version may have written: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")
