"""The Kubeflow component of unwrap."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN


@dsl.container_component
def unwrap(
    checkpoint: dsl.Input[dsl.Model],
    weights: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    like: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Turns a trainer's checkpoint into weights for generation."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.unwrap"], args=["--executor-input", "{{$}}"])
