"""The Kubeflow component of segment."""

from typing import Optional

from kfp import dsl

from components.image import PREPARE


@dsl.container_component
def segment(
    recordings: dsl.Input[dsl.Dataset],
    segments: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    segments_key: dsl.OutputPath(str),  # type: ignore[valid-type]
    min_s: Optional[float] = None,  # noqa: UP045  (kfp reads Optional only)
    max_s: Optional[float] = None,  # noqa: UP045
    loudness_lufs: Optional[float] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Cuts recordings into segments at their silences and renders each once."""
    return dsl.ContainerSpec(image=PREPARE, command=["python", "-m", "components.segment"], args=["--executor-input", "{{$}}"])
