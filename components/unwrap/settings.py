"""Extracts the weights of a trainer's checkpoint: model.safetensors and model_config.json, as stable-audio-tools reads them.

Input: the checkpoint pointer, or a `.ckpt` file of stable-audio-tools' own trainer. Output: a weights pointer.
"""

from typing import Literal

from pydantic import Field

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
        description="for a .ckpt of stable-audio-tools: the base model (or folder) whose model_config.json it was trained with; "
        "default: the folder it lies in",
    )
