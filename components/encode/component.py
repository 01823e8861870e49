"""The Kubeflow component of encode."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN


@dsl.container_component
def encode(
    dataset: dsl.Input[dsl.Dataset],
    latents: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    latents_key: dsl.OutputPath(str),  # type: ignore[valid-type]
    base: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    like: Optional[str] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Encodes every segment and caption once with the base model."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.encode"], args=["--executor-input", "{{$}}"])
