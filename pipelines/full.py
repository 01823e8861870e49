"""full: prepare and tune in one, for material that is already described (file names, sidecars, imports)."""

from kfp import dsl

from pipelines.prepare import play_prepare
from pipelines.tune import play_tune


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
    cuts = play_prepare(agreement, contributors, instrument, licence, segments_longest_s, segments_shortest_s, session, source)
    play_tune(cuts.outputs["segments_key"], training_base, training_length, training_method, training_name)
