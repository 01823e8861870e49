"""The card of finetune: what Kubeflow sees."""

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
    mode: Optional[str] = None,  # noqa: UP045
    steps: Optional[int] = None,  # noqa: UP045
    batch_size: Optional[int] = None,  # noqa: UP045
    checkpoint_every: Optional[int] = None,  # noqa: UP045
    learning_rate: Optional[float] = None,  # noqa: UP045
    seed: Optional[int] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Trains the base model on the group's latents, resumable to the bit."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.finetune"], args=["--executor-input", "{{$}}"])
