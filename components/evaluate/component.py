"""The Kubeflow component of evaluate."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN


@dsl.container_component
def evaluate(
    weights: dsl.Input[dsl.Model],
    latents: dsl.Input[dsl.Dataset],
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    passed: dsl.OutputPath(bool),  # type: ignore[valid-type]
    like: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Measures the tuned model on held-out material and says whether the gate passed."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.evaluate"], args=["--executor-input", "{{$}}"])
