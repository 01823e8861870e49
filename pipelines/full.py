"""full: prepare and tune in one, for material that is already described (file names, sidecars, imports)."""

from typing import Any

from kfp import dsl

from components.ingest.component import ingest
from components.segment.component import segment
from pipelines.placement import place
from pipelines.recipe import Recipe
from pipelines.tune import play_tune


def full(recipe: Recipe) -> Any:
    """The whole journey without a pause for ears."""

    @dsl.pipeline(
        name="audio-tune-full",
        display_name="Audio Tune: the whole journey",
        description="From recordings that are described by their names or sidecars to a registered release.",
    )
    def pipeline(
        agreement: str = "",
        base: str = recipe.knob("finetune", "base"),
        batch_size: int = recipe.knob("finetune", "batch_size"),
        checkpoint_every: int = recipe.knob("finetune", "checkpoint_every"),
        contributors: str = "",
        learning_rate: float = recipe.knob("finetune", "learning_rate"),
        licence: str = "",
        mode: str = recipe.knob("finetune", "mode"),
        name: str = recipe.knob("register", "name"),
        seed: int = recipe.knob("finetune", "seed"),
        source: str = "",
        steps: int = recipe.knob("finetune", "steps"),
    ) -> None:
        recordings = ingest(
            settings=recipe.knobs("ingest"), source=source, agreement=agreement, contributors=contributors, licence=licence
        )
        place(recordings, recipe.cluster).set_display_name("Take recordings in")
        cuts = segment(settings=recipe.knobs("segment"), recordings=recordings.outputs["recordings"])
        place(cuts, recipe.cluster).set_display_name("Cut into segments")
        play_tune(
            recipe,
            cuts.outputs["segments_key"],
            base,
            batch_size,
            checkpoint_every,
            learning_rate,
            mode,
            name,
            seed,
            steps,
        )

    return pipeline
