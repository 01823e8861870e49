"""The Kubeflow component of annotate_merge."""

from typing import Optional

from kfp import dsl

from components.image import PREPARE


@dsl.container_component
def annotate_merge(
    dataset: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    dataset_key: dsl.OutputPath(str),  # type: ignore[valid-type]
    segments: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    sources: Optional[str] = None,  # noqa: UP045
    like: Optional[str] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Merges annotations into captions and freezes the dataset."""
    return dsl.ContainerSpec(
        image=PREPARE, command=["python", "-m", "components.annotate_merge"], args=["--executor-input", "{{$}}"]
    )
