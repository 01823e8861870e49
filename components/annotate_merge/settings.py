"""Settings of annotate_merge, which merges annotations into captions, measures agreement, and writes the dataset.

Input: the segments (by store key) and every annotation in the store. Output: the dataset manifest.
"""

from __future__ import annotations

from pydantic import Field

from components.executor import StepSettings

INPUTS = ()
OUTPUTS = ("dataset", "report", "metrics")
PARAMETERS = ("dataset_key",)

_SOURCES = r"\s*(studio|file_names|sidecars)\s*(,\s*(studio|file_names|sidecars)\s*)*"


class Settings(StepSettings):
    """The settings of annotate_merge."""

    segments: str = Field(default="newest", min_length=1, description="Store key of the segments manifest, or newest.")
    sources: str = Field(
        default="studio,file_names,sidecars",
        pattern=f"^{_SOURCES}$",
        description="What is merged, by comma: studio, file_names, sidecars; imports come on top.",
    )
    imports: tuple[str, ...] = Field(
        default=(), description="Tables, Label Studio exports or Audacity label tracks: paths or store keys."
    )
    import_members: dict[str, str] = Field(
        default={}, description='What imports call somebody -> member id, as in {"7": "ana"}; * is everybody else.'
    )
    threshold: float = Field(
        default=0.5,
        gt=0.0,
        lt=1.0,
        description="Posterior probability from which a term that members differ on stands in the main caption.",
    )
    held_out_share: float = Field(
        default=0.15, ge=0.0, le=0.9, description="Share of recordings kept for evaluation; at least one of two, never all."
    )
    split_by: str = Field(
        default="recording", pattern="^(recording|session)$", description="What never stands on both sides of the split."
    )
    caption_fallback: str = Field(
        default="", max_length=500, description="Caption of segments nobody described; empty leaves them out."
    )
    iterations: int = Field(default=30, ge=1, le=1000, description="Rounds of expectation and maximisation at most.")
    bootstrap: int = Field(default=200, ge=0, le=10_000, description="Resamplings for the interval of agreement; 0 gives none.")
    players: int = Field(default=12, ge=0, le=60, description="Disagreements that can be listened to in the report.")
