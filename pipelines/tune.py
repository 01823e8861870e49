"""tune: annotate_merge -> encode -> finetune -> unwrap -> evaluate -> register."""

from typing import Any

from kfp import dsl

from components.annotate_merge.component import annotate_merge
from components.encode.component import encode
from components.evaluate.component import evaluate
from components.finetune.component import finetune
from components.register.component import register
from components.unwrap.component import unwrap
from pipelines.placement import place
from pipelines.recipe import Recipe


def tune(recipe: Recipe) -> Any:
    """The pipeline from annotated segments to a registered release."""

    @dsl.pipeline(
        name="audio-tune-tune",
        display_name="Audio Tune: tune a model",
        description="Merges what the members heard into captions, fine-tunes the base model, measures it and registers a release.",
    )
    def pipeline(
        base: str = recipe.knob("finetune", "base"),
        batch_size: int = recipe.knob("finetune", "batch_size"),
        checkpoint_every: int = recipe.knob("finetune", "checkpoint_every"),
        learning_rate: float = recipe.knob("finetune", "learning_rate"),
        mode: str = recipe.knob("finetune", "mode"),
        name: str = recipe.knob("register", "name"),
        seed: int = recipe.knob("finetune", "seed"),
        segments: str = "newest",
        steps: int = recipe.knob("finetune", "steps"),
    ) -> None:
        play_tune(recipe, segments, base, batch_size, checkpoint_every, learning_rate, mode, name, seed, steps)

    return pipeline


def play_tune(
    recipe: Recipe,
    segments: Any,
    base: Any,
    batch_size: Any,
    checkpoint_every: Any,
    learning_rate: Any,
    mode: Any,
    name: Any,
    seed: Any,
    steps: Any,
) -> None:
    """The six tasks, inside any pipeline; `segments` is a store key or the output of `segment`."""
    cluster = recipe.cluster
    merged = annotate_merge(settings=recipe.knobs("annotate_merge"), segments=segments)
    place(merged, cluster).set_display_name("Merge annotations into captions")
    dataset = merged.outputs["dataset"]
    encoded = encode(settings=recipe.knobs("encode"), dataset=dataset, base=base)
    place(encoded, cluster, gpu=True).set_display_name("Encode sounds and words")
    latents = encoded.outputs["latents"]
    trained = finetune(
        settings=recipe.knobs("finetune"),
        latents=latents,
        dataset=dataset,
        base=base,
        mode=mode,
        steps=steps,
        batch_size=batch_size,
        checkpoint_every=checkpoint_every,
        learning_rate=learning_rate,
        seed=seed,
    )
    place(trained, cluster, gpu=True).set_display_name("Fine-tune the model")
    unwrapped = unwrap(settings=recipe.knobs("unwrap"), checkpoint=trained.outputs["checkpoint"])
    place(unwrapped, cluster).set_display_name("Unwrap the weights")
    weights = unwrapped.outputs["weights"]
    judged = evaluate(settings=recipe.knobs("evaluate"), weights=weights, latents=latents, dataset=dataset)
    place(judged, cluster, gpu=True).set_display_name("Evaluate against the recordings")
    released = register(
        settings=recipe.knobs("register"), weights=weights, dataset=dataset, evaluation=judged.outputs["evaluation"], name=name
    )
    place(released, cluster).set_display_name("Register the release").set_caching_options(False)
