"""Cuts recordings into segments: limits and thresholds for their bounds, length and loudness."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.executor import StepSettings

INPUTS = ("recordings",)
OUTPUTS = ("segments", "report", "metrics")
PARAMETERS = ("segments_key",)


class Settings(StepSettings):
    """The settings of segment."""

    min_s: float = Field(
        default=0.3, ge=0.05, le=60, description="Shortest segment in seconds; shorter sounds keep some silence."
    )
    max_s: float = Field(
        default=30.0, ge=1, le=300, description="Longest segment in seconds; longer takes are cut where least happens."
    )
    loudness_lufs: float = Field(default=-18.0, ge=-50, le=-5, description="Loudness every segment is brought to, in LUFS.")
    keep_levels: bool = Field(
        default=False, description="Leave all levels as they were played; loudness_lufs then means nothing."
    )
    max_gain_db: float = Field(default=20.0, ge=0, le=60, description="Most a segment is raised, in dB, so that hiss stays hiss.")
    peak_dbfs: float = Field(default=-1.0, ge=-20, le=0, description="Highest peak after the gain, in dBFS; it caps the gain.")
    fade_in_s: float = Field(default=0.002, ge=0, le=1, description="Fade at the start in seconds; short, attacks live there.")
    fade_out_s: float = Field(default=0.03, ge=0, le=5, description="Fade at the end in seconds.")
    pre_roll_s: float = Field(default=0.005, ge=0, le=0.02, description="Kept before an onset, in seconds; 0.02 at most.")
    highpass_hz: float = Field(
        default=30.0, ge=5, le=200, description="Corner of the high-pass of the ear, in hertz; sounds keep their bass."
    )
    onset_db: float = Field(default=9.0, ge=3, le=40, description="Rise over the noise floor that begins a sound, in dB.")
    release_db: float = Field(
        default=5.0, ge=1, le=30, description="Below this over the noise floor a sound begins to end, in dB."
    )
    gap_s: float = Field(default=0.08, ge=0.02, le=5, description="Silence, in seconds, that is always inside a sound.")
    phrase_gap_s: float = Field(
        default=1.5,
        ge=0,
        le=10,
        description="Pause, in seconds, that a phrase may hold: the same sound again, or a tail still heard.",
    )
    likeness_db: float = Field(default=6.5, ge=0, le=20, description="How far apart two spectra of the same sound may be, in dB.")
    new_sound_probability: float = Field(
        default=0.6,
        ge=0.05,
        le=1,
        description="How probable a new sound over one that still sounds must be to be cut off; 1: never.",
    )
    min_sound_s: float = Field(
        default=0.06, ge=0.01, le=5, description="Sounds shorter than this, in seconds, are clicks and left out."
    )
    quietest_dbfs: float = Field(
        default=-60.0, ge=-90, le=-10, description="Sounds that never get louder than this, in dBFS, are left out."
    )
    floor_dbfs: float = Field(
        default=-40.0, ge=-90, le=-10, description="What is louder than this, in dBFS, is never taken for noise."
    )
    floor_window_s: float = Field(
        default=20.0, ge=2, le=600, description="How far the noise floor looks to both sides, in seconds."
    )
    floor_rise_db: float = Field(
        default=6.0, ge=0, le=30, description="How far noise may rise over the quietest of the take, in dB."
    )
    cut_at_labels: bool = Field(
        default=True,
        description="Whether a take with a label track beside it is cut at its regions; else they only give words.",
    )
    whole: bool = Field(
        default=False,
        description="Each recording is one segment, as it came: for clips that are cut already; max_s still cuts.",
    )
    pictures: int = Field(default=60, ge=0, le=200, description="Recordings drawn in the report at most.")

    @model_validator(mode="after")
    def _bounds_fit(self) -> Settings:
        if self.min_s * 2 > self.max_s:
            raise ValueError("max_s must be at least twice min_s, or long takes cannot be cut")
        if self.release_db > self.onset_db:
            raise ValueError("release_db must not be above onset_db")
        return self
