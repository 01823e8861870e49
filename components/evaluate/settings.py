"""Measures whether a tuned model is closer to held-out recordings than its base, and whether it copies training recordings.

Input: the weights, the latents and the dataset. Output: the evaluation with the gate's decision, and a report.
"""

from typing import Literal

from pydantic import Field

from components.executor import StepSettings

INPUTS = ("weights", "latents", "dataset")
OUTPUTS = ("evaluation", "report", "metrics")
PARAMETERS = ("passed",)


class Settings(StepSettings):
    """The settings of evaluate. Those of the gate begin with `gate_`."""

    sounds: int = Field(default=24, ge=2, le=2000, description="sounds made of held-out captions, by base and by tuned model")
    train_sounds: int = Field(default=8, ge=0, le=2000, description="sounds made of captions that were trained with, by both")
    screening_sounds: int = Field(
        default=8,
        ge=0,
        le=2000,
        description="sounds of each checkpoint by which the best is found, before it and the last are judged in full; 0 judges the last",
    )
    references: int = Field(default=200, ge=4, le=20_000, description="recorded segments of each split that are compared with")
    steps: int | None = Field(
        default=None, ge=1, le=1000, description="denoising steps of a made sound; default: the base's own, 24 for the tiny one"
    )
    guidance: float | None = Field(
        default=None, ge=0.0, le=30.0, description="classifier-free guidance of a made sound; 1 is none; default: the base's own"
    )
    seed: int = Field(default=1000, ge=0, lt=2**62, description="seed of the first sound; the next ones count up from it")
    embedding: Literal["mel_latents", "mel", "clap", "panns"] = Field(
        default="mel_latents",
        description="what KAD compares: mel statistics with or without the base's latents (no download), LAION-CLAP or PANNs",
    )
    embedding_model: str = Field(
        default="laion/larger_clap_music", description="CLAP: name on Hugging Face or folder; PANNs: checkpoint file"
    )
    kernel: Literal["rbf", "polynomial"] = Field(default="rbf", description="kernel of KAD")
    loss_rows: int = Field(
        default=12, ge=0, le=5000, description="latents of each split that the loss by noise level is measured on; 0: none"
    )
    probe_low: str = Field(default="low drone", description="prompt that should sound lower and longer")
    probe_high: str = Field(default="high pluck", description="prompt that should sound higher and shorter")
    probe_seeds: int = Field(default=0, ge=0, le=1000, description="seeds the two prompts are told apart at; 0 leaves this out")
    gate_nearer: float = Field(
        default=0.95,
        ge=0.0,
        le=1000.0,
        description="KAD after must stay below this share of KAD before, and beyond chance; 1000 does not ask",
    )
    gate_apart: float = Field(
        default=1.0,
        ge=0.0,
        le=1000.0,
        description="KAD after may reach this multiple of the KAD between parts of the training recordings; 1000 does not ask",
    )
    gate_variety: float = Field(
        default=0.5, ge=0.0, le=1.0, description="how different its sounds must be, as a share of the recordings with their words"
    )
    gate_effect: bool = Field(
        default=True,
        description="its sounds must differ from its base's, at the same words and seeds, by more than other seeds make",
    )
    gate_words: float = Field(
        default=0.7, ge=0.0, le=1.0, description="share of the base's way of following words that must be left; 0 does not ask"
    )
    gate_log_mel: float = Field(
        default=1.05, ge=0.0, le=1000.0, description="log-mel distance after may reach this share of before; 1000 does not ask"
    )
    gate_like: float = Field(
        default=0.98, ge=0.0, le=1.0, description="likeness to a training segment from which a sound is a copy"
    )
    gate_copies: float = Field(
        default=0.1, ge=0.0, le=1.0, description="share of the sounds that may be copies, beyond what held-out recordings show"
    )
    gate_silent: float = Field(default=0.0, ge=0.0, le=1.0, description="share of the sounds that may be silent")
    gate_noise: float = Field(
        default=0.25, ge=0.0, le=1.0, description="share of the sounds that may be as flat as noise, beyond the recordings' own"
    )
    gate_clipped: float = Field(default=0.25, ge=0.0, le=1.0, description="share of the sounds that may clip")
    gate_gap: float = Field(
        default=1.0, ge=0.0, le=1000.0, description="held-out loss may lie above the training loss by this share of it"
    )
    gate_held_out: int = Field(default=8, ge=0, description="held-out segments and sounds of them there must be to judge by")
    gate_probe: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of the probe's seeds that must come out the right way round"
    )
    players: int = Field(default=8, ge=0, le=100, description="sounds played on the page beside their nearest training segments")
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda", description="auto (a GPU if there is one), cpu or cuda")
