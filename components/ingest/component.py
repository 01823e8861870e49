"""The Kubeflow component of ingest."""

from typing import Optional

from kfp import dsl

from components.image import PREPARE


@dsl.container_component
def ingest(
    recordings: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    recordings_key: dsl.OutputPath(str),  # type: ignore[valid-type]
    source: Optional[str] = None,  # noqa: UP045  (kfp reads Optional only)
    agreement: Optional[str] = None,  # noqa: UP045
    contributors: Optional[str] = None,  # noqa: UP045
    session: Optional[str] = None,  # noqa: UP045
    instrument: Optional[str] = None,  # noqa: UP045
    licence: Optional[str] = None,  # noqa: UP045
    settings: dict = {},  # noqa: B006
) -> dsl.ContainerSpec:
    """Imports recordings: checks consent, decodes each once, describes it, finds likenesses, stores it."""
    return dsl.ContainerSpec(image=PREPARE, command=["python", "-m", "components.ingest"], args=["--executor-input", "{{$}}"])
