"""The Kubeflow component of register."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN


@dsl.container_component
def register(
    weights: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Artifact],
    release: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    version: dsl.OutputPath(str),  # type: ignore[valid-type]
    name: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    like: Optional[str] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Registers a release with its lineage, card and notice."""
    return dsl.ContainerSpec(image=TRAIN, command=["python", "-m", "components.register"], args=["--executor-input", "{{$}}"])
