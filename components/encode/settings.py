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
        description="base model: tiny, stabilityai/stable-audio-open-1.0, stable-audio-open-small-base, a folder, or a "
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
    views: int = Field(
        default=1, ge=1, le=64, description="encodings of each training segment, the first as it is, the others a little changed"
    )
    view_crop: float = Field(default=0.2, ge=0.0, le=0.9, description="share of a view's length that may be cut off its ends")
    view_gain_db: float = Field(default=3.0, ge=0.0, le=24.0, description="a view is louder or quieter by at most this, in dB")
    view_polarity: bool = Field(default=True, description="half of the views have the other polarity")
    view_swap: bool = Field(default=True, description="half of the views have their channels swapped")
    view_posterior: bool = Field(
        default=True, description="a view is a draw from the autoencoder's posterior, not its mean, where it has one"
    )
    view_seed: int = Field(default=0, ge=0, lt=2**63, description="decides how views differ")
    device: str = Field(
        default="auto", pattern=r"auto|cpu|cuda(:\d+)?", description="auto (a GPU if there is one), cpu, cuda or cuda:1"
    )
