"""What `audiotune adopt` was asked for, as it goes to the process that has the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel


class AdoptionRequest(FrozenModel):
    """A training from elsewhere.

    Attributes:
        weights: a checkpoint or an adapter.
        recordings: the sounds that it was trained on: a folder, any other source of ingest, or stable-audio-tools' dataset config.
        base: the model that was tuned.
        made_by, licence: whose work the weights are, and under what licence.
        contributors: who plays on recordings that no sidecar names anybody for.
        recipe: further settings of the steps.
        out: folder for manifests and reports.
    """

    weights: Path
    recordings: str = Field(min_length=1)
    base: str = Field(min_length=1)
    made_by: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    name: str = Field(min_length=1)
    agreement: str = ""
    contributors: str = ""
    session: str = ""
    recipe: str = ""
    ema: bool | None = None
    lora: Literal["keep", "merge"] = "keep"
    store: str | None = None
    out: Path
