"""Merges what members heard into captions, measures how far they agree, and freezes the dataset.

What goes in: the segments (by store key) and every annotation in the store. What comes out: the dataset manifest.
"""

from pydantic import Field

from components.executor import StepSettings

INPUTS = ()
OUTPUTS = ("dataset", "report", "metrics")
PARAMETERS = ("dataset_key",)


class Settings(StepSettings):
    """Knobs of annotate_merge."""

    segments: str = Field(default="newest", min_length=1, description="store key of the segments manifest, or newest")
    sources: str = Field(
        default="studio,file_names,sidecars",
        pattern=r"(studio|file_names|sidecars)(,(studio|file_names|sidecars))*",
        description="what is merged, by comma: studio, file_names, sidecars; imports come on top",
    )
    imports: tuple[str, ...] = Field(default=(), description="CSV or Label Studio JSON files: paths or store keys")
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0, description="posterior probability from which a term is in the caption")
    held_out_share: float = Field(
        default=0.15, ge=0.0, le=0.9, description="share of recordings kept for evaluation, at least one of two"
    )
    split_by: str = Field(
        default="recording", pattern="recording|session", description="what never stands on both sides of the split"
    )
    caption_fallback: str = Field(
        default="", max_length=500, description="caption of segments nobody described; empty leaves them out"
    )
    iterations: int = Field(default=30, ge=1, le=1000, description="rounds of expectation and maximisation")
    bootstrap: int = Field(default=200, ge=0, le=10_000, description="resamplings for the interval of agreement; 0 gives none")
