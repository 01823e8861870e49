"""Encodes segments and their captions once with the base model, so that training need not do it.

Input: the dataset manifest. Output: the latents manifest.
"""

from pydantic import Field

from components.executor import StepSettings

INPUTS = ("dataset",)
OUTPUTS = ("latents", "metrics")
PARAMETERS = ("latents_key",)


class Settings(StepSettings):
    """The settings of encode."""

    base: str = Field(
        default="tiny",
        min_length=1,
        description="base model: tiny, stabilityai/stable-audio-open-1.0, stabilityai/stable-audio-open-small, a folder, or a "
        "prefix in the store",
    )
    part_s: float = Field(
        default=0.0,
        ge=0.0,
        le=600.0,
        description="longest part in seconds; longer segments become several rows; 0 is the base model's own window",
    )
    tail_s: float = Field(
        default=0.25, ge=0.0, le=60.0, description="a last part shorter than this many seconds is left out (never the only part)"
    )
    device: str = Field(
        default="auto", pattern=r"auto|cpu|cuda(:\d+)?", description="auto (a GPU if there is one), cpu, cuda or cuda:1"
    )
