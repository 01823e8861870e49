"""The Kubeflow component of finetune."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN


@dsl.container_component
def finetune(
    latents: dsl.Input[dsl.Dataset],
    dataset: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    base: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    length: Optional[str] = None,  # noqa: UP045
    method: Optional[str] = None,  # noqa: UP045
    seed: Optional[int] = None,  # noqa: UP045
    like: Optional[str] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Trains the base model on the group's latents, resumable to the bit."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.finetune"], args=["--executor-input", "{{$}}"])
