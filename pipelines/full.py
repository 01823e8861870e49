"""full: prepare and tune in one, for material that is already described (file names, sidecars, imports)."""

from kfp import dsl

from pipelines.prepare import add_prepare_tasks
from pipelines.tune import add_tune_tasks


@dsl.pipeline(
    name="audio-tune-full",
    display_name="Audio Tune: the whole journey",
    description="From recordings that are described by their names or sidecars to a registered release.",
)
def full(
    agreement: str = "",
    contributors: str = "",
    instrument: str = "",
    licence: str = "",
    segments_longest_s: float = 30.0,
    segments_shortest_s: float = 0.3,
    session: str = "",
    source: str = "",
    training_base: str = "",
    training_length: str = "",
    training_method: str = "",
    training_name: str = "",
) -> None:
    """The whole journey without a pause for ears."""
    cuts = add_prepare_tasks(
        agreement, contributors, instrument, licence, segments_longest_s, segments_shortest_s, session, source
    )
    add_tune_tasks(cuts.outputs["segments_key"], training_base, training_length, training_method, training_name)
