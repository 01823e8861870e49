"""Registers a release in MLflow: weights by digest, lineage, model card, notice; alias candidate, and champion if it may.

Input: weights, dataset and evaluation. Output: the release.
"""

from pydantic import Field

from components.executor import StepSettings

INPUTS = ("weights", "dataset", "evaluation")
OUTPUTS = ("release", "report", "metrics")
PARAMETERS = ("version",)


class Settings(StepSettings):
    """The settings of register."""

    name: str = Field(
        default="audio-tune", pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", description="name the release is registered under"
    )
    champion: bool = Field(
        default=True, description="make it the champion when the gate passed and every contributor agreed; else only candidate"
    )
    intended_use: str = Field(
        default="Making new sounds for the members' own music.", max_length=2000, description="a sentence for the model card"
    )
