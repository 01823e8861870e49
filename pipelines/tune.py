"""tune: annotate_merge -> encode -> finetune -> unwrap -> evaluate -> register."""

from typing import Any

from kfp import dsl

from components.annotate_merge.component import annotate_merge
from components.encode.component import encode
from components.evaluate.component import evaluate
from components.finetune.component import finetune
from components.register.component import register
from components.unwrap.component import unwrap


def add_tune_tasks(segments: Any, base: Any, length: Any, method: Any, name: Any, seed: Any = None, like: Any = None) -> None:
    """The six tasks, inside any pipeline; `segments` is a store key or the output of `segment`, `like` the card of a release."""
    as_then = {} if like is None else {"like": like}
    merged = annotate_merge(settings={}, segments=segments, **as_then).set_display_name("Merge annotations into captions")
    merged.set_caching_options(False)  # "newest" and the annotations are read from the store; its cache key would not change
    dataset = merged.outputs["dataset"]
    encoded = encode(settings={}, dataset=dataset, base=base, **as_then).set_display_name("Encode sounds and words")
    latents = encoded.outputs["latents"]
    asked = {"base": base, "length": length, "method": method, **({} if seed is None else {"seed": seed}), **as_then}
    trained = finetune(settings={}, latents=latents, dataset=dataset, **asked).set_display_name("Fine-tune the model")
    unwrapped = unwrap(settings={}, checkpoint=trained.outputs["checkpoint"], **as_then).set_display_name("Unwrap the weights")
    weights = unwrapped.outputs["weights"]
    judged = evaluate(settings={}, weights=weights, latents=latents, dataset=dataset, **as_then)
    judged.set_display_name("Evaluate against the recordings")
    released = register(
        settings={}, weights=weights, dataset=dataset, evaluation=judged.outputs["evaluation"], name=name, **as_then
    )
    released.set_display_name("Register the release").set_caching_options(False)


@dsl.pipeline(
    name="audio-tune-tune",
    display_name="Audio Tune: tune a model",
    description="Merges what the members heard into captions, fine-tunes the base model, measures it and registers a release.",
)
def tune(
    segments: str = "newest",
    training_base: str = "",
    training_length: str = "",
    training_method: str = "",
    training_name: str = "",
    training_seed: int = 42,
    training_like: str = "",
) -> None:
    """The pipeline from annotated segments to a registered release."""
    add_tune_tasks(segments, training_base, training_length, training_method, training_name, training_seed, training_like)
