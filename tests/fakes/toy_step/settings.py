"""Settings of the toy step."""

from __future__ import annotations

from pydantic import Field

from components.executor import StepSettings

INPUTS = ("model",)
OUTPUTS = ("page", "metrics")
PARAMETERS = ("lines", "key")


class Settings(StepSettings):
    """Settings of the toy step."""

    loudness_lufs: float = Field(default=-18.0, ge=-50, le=-5, description="Level in LUFS, 100 % honest.")
    word: str = Field(default="drone", description="What is counted.")
    people: tuple[str, ...] = Field(default=(), description="Who plays.")
    fail: str = Field(default="", description="How it fails: ours or bug.")
