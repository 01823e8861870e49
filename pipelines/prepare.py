"""prepare: ingest -> segment. After it, members listen and annotate; then comes `tune`."""

from typing import Any

from kfp import dsl

from components.ingest.component import ingest
from components.segment.component import segment
from pipelines.placement import place
from pipelines.recipe import Recipe


def prepare(recipe: Recipe) -> Any:
    """The pipeline for recordings that people will describe by ear."""

    @dsl.pipeline(
        name="audio-tune-prepare",
        display_name="Audio Tune: prepare recordings",
        description="Takes recordings in, checks consent, and cuts them into segments for the members to listen to.",
    )
    def pipeline(
        agreement: str = "",
        contributors: str = "",
        instrument: str = "",
        licence: str = "",
        longest_s: float = recipe.knob("segment", "max_s"),
        session: str = "",
        shortest_s: float = recipe.knob("segment", "min_s"),
        source: str = "",
    ) -> None:
        recordings = ingest(
            settings=recipe.knobs("ingest"),
            source=source,
            agreement=agreement,
            contributors=contributors,
            instrument=instrument,
            licence=licence,
            session=session,
        )
        place(recordings, recipe.cluster).set_display_name("Take recordings in")
        cuts = segment(
            settings=recipe.knobs("segment"), recordings=recordings.outputs["recordings"], min_s=shortest_s, max_s=longest_s
        )
        place(cuts, recipe.cluster).set_display_name("Cut into segments")

    return pipeline
