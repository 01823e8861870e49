"""Extracts the weights of a trainer's checkpoint: model.safetensors and model_config.json, as stable-audio-tools reads them.

Input: the checkpoint pointer, or weights that were trained elsewhere: a `.ckpt` of stable-audio-tools' trainer, an unwrapped .ckpt or
.safetensors, or an adapter. Output: a weights pointer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.executor import StepSettings

INPUTS = ("checkpoint",)
OUTPUTS = ("weights", "metrics")
PARAMETERS = ()


class Settings(StepSettings):
    """The settings of unwrap."""

    ema: bool | None = Field(
        default=None,
        description="take the running mean of the weights instead of the last ones; default: if the checkpoint has one",
    )
    lora: Literal["merge", "keep"] = Field(
        default="merge", description="adapters: merge them into the weights, or keep them as a file beside the base's weights"
    )
    base: str = Field(
        default="",
        description="for weights from elsewhere: the base model (or folder) that they were tuned from; default: the folder they lie in",
    )
    dataset: str = Field(
        default="",
        description="for weights from elsewhere: the dataset that they were trained on, a file of annotate_merge or a store key; "
        "without it they cannot be evaluated and registered",
    )
    made_by: str = Field(default="", max_length=200, description="for weights from elsewhere: who trained them")
    licence: str = Field(
        default="", max_length=200, description="for weights from elsewhere: the licence that their maker gave them"
    )

    @model_validator(mode="after")
    def _maker_is_named(self) -> Settings:
        if self.dataset and not (self.made_by and self.base and self.licence):
            raise ValueError(
                "dataset needs base, made_by and licence: a release says whose work it is and what it was tuned from"
            )
        return self
