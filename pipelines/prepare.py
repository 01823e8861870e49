"""prepare: ingest -> segment. After it, members listen and annotate; then comes `tune`."""

from typing import Any

from kfp import dsl

from components.ingest.component import ingest
from components.segment.component import segment


def add_prepare_tasks(
    agreement: Any, contributors: Any, instrument: Any, licence: Any, longest_s: Any, shortest_s: Any, session: Any, source: Any
) -> dsl.PipelineTask:
    """The two tasks, inside any pipeline; returns the one that cuts."""
    recordings = ingest(
        settings={},
        source=source,
        agreement=agreement,
        contributors=contributors,
        instrument=instrument,
        licence=licence,
        session=session,
    )
    recordings.set_display_name("Take recordings in").set_caching_options(False)  # a folder keeps its name when files come
    cuts = segment(settings={}, recordings=recordings.outputs["recordings"], min_s=shortest_s, max_s=longest_s)
    return cuts.set_display_name("Cut into segments")


@dsl.pipeline(
    name="audio-tune-prepare",
    display_name="Audio Tune: prepare recordings",
    description="Takes recordings in, checks consent, and cuts them into segments for the members to listen to.",
)
def prepare(
    agreement: str = "",
    contributors: str = "",
    instrument: str = "",
    licence: str = "",
    segments_longest_s: float = 30.0,
    segments_shortest_s: float = 0.3,
    session: str = "",
    source: str = "",
) -> None:
    """The pipeline for recordings that people will describe by ear."""
    add_prepare_tasks(agreement, contributors, instrument, licence, segments_longest_s, segments_shortest_s, session, source)
