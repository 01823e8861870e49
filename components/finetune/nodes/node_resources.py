"""Image, resources and placement of training pods, which pipelines.cluster.placement writes into the step. Imports no torch."""

import os
from typing import Any

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import SettingsError

VARIABLE = "AUDIOTUNE_TRAINJOB"
RUNTIME = "audio-tune"  # the TrainingRuntime that pipelines.cluster.namespace and the chart create
# Labels of every training pod; its NetworkPolicy selects by them.
LABELS = {"app.kubernetes.io/name": "audio-tune", "app.kubernetes.io/component": "training"}
_CURE = "compile the pipeline for this cluster with nodes above 1, or set nodes to 1"
Object = dict[str, Any]


class NodeResources(FrozenModel):
    """Fields of one training pod, as in Kubernetes.

    Attributes:
        image: the same as the step's.
        env: environment; references Secrets.
        resources: requests and limits of one pod.
        user: number of the user it runs as.
        deadline_s: seconds after which Kubernetes ends the TrainJob, even if the step has ended.
        restarts: how often all pods are restarted after one was lost.
    """

    image: str = Field(min_length=1)
    env: list[Object] = []
    resources: Object = {}
    volumes: list[Object] = []
    mounts: list[Object] = []
    node_selector: dict[str, str] = {}
    tolerations: list[Object] = []
    pull_secrets: list[str] = []
    user: int = Field(default=10001, ge=1)
    deadline_s: int = Field(ge=60)
    restarts: int = Field(default=2, ge=0)


def node_resources_from_environment() -> NodeResources:
    """Reads the resources that the compiled pipeline sets. Raises SettingsError if they are missing or invalid."""
    text = os.environ.get(VARIABLE)
    if not text:
        raise SettingsError(f"training on several nodes was asked for, and {VARIABLE} does not say where", cure=_CURE)
    try:
        return NodeResources.model_validate_json(text)
    except ValidationError as e:
        raise SettingsError(f"{VARIABLE} does not fit: {e.errors()[0]['msg']}", cure=_CURE) from e
