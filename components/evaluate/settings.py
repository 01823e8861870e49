"""Measures a tuned model on held-out material: nearer to the group's sound than its base, and no copy of it.

What goes in: the weights, the latents and the dataset. What comes out: the evaluation with the gate's word, and a report.
"""

from typing import Literal

from pydantic import Field

from components.executor import StepSettings

INPUTS = ("weights", "latents", "dataset")
OUTPUTS = ("evaluation", "report", "metrics")
PARAMETERS = ("passed",)


class Settings(StepSettings):
    """Knobs of evaluate. Those of the gate begin with `gate_`."""

    sounds: int = Field(
        default=24, ge=2, le=2000, description="sounds generated from held-out captions, by base and by tuned model"
    )
    train_sounds: int = Field(default=8, ge=0, le=2000, description="sounds generated from captions that were trained with")
    references: int = Field(default=200, ge=4, le=20_000, description="real segments of each split that sounds are compared with")
    steps: int = Field(default=24, ge=1, le=1000, description="denoising steps of a generated sound")
    guidance: float = Field(default=4.0, ge=0.0, le=30.0, description="classifier-free guidance of a generated sound")
    seed: int = Field(default=1000, ge=0, lt=2**62, description="seed of the first sound; the next ones count up from it")
    embedding: Literal["mel_latents", "clap", "panns"] = Field(
        default="mel_latents",
        description="what KAD compares: mel and latent statistics (nothing to download), LAION-CLAP or PANNs where installed",
    )
    kernel: Literal["rbf", "polynomial"] = Field(default="rbf", description="kernel of KAD")
    loss_rows: int = Field(
        default=16, ge=0, le=5000, description="latents of each split that the loss by noise level is measured on; 0: none"
    )
    probe_low: str = Field(default="low drone", description="prompt that should sound lower and longer")
    probe_high: str = Field(default="high pluck", description="prompt that should sound higher and shorter")
    probe_seeds: int = Field(default=0, ge=0, le=1000, description="seeds that tell the two prompts apart; 0 leaves this out")
    gate_kad: float = Field(
        default=1.0, ge=0.0, le=100.0, description="KAD after, as a share of KAD before, must stay below this"
    )
    gate_copy_likeness: float = Field(
        default=0.97,
        ge=0.0,
        le=1.0,
        description="likeness to a training segment from which a sound counts as its copy, unless held-out ones are as like",
    )
    gate_copies: float = Field(default=0.1, ge=0.0, le=1.0, description="share of the sounds that may be copies")
    gate_silent: float = Field(default=0.0, ge=0.0, le=1.0, description="share of the sounds that may be silent")
    gate_clipped: float = Field(default=0.25, ge=0.0, le=1.0, description="share of the sounds that may clip")
    gate_flatness: float = Field(
        default=0.7, ge=0.0, le=1.0, description="median spectral flatness, as a share of white noise's, must stay below this"
    )
    gate_held_out: int = Field(default=2, ge=0, description="held-out segments there must be")
    gate_probe: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of the probe's seeds that must be told apart the right way round"
    )
    silence_dbfs: float = Field(default=-50.0, ge=-120.0, le=0.0, description="peak below which a sound is silent, in dBFS")
    shown: int = Field(default=8, ge=0, le=100, description="sounds shown in the report with their nearest training segments")
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda", description="auto (a GPU if there is one), cpu or cuda")
