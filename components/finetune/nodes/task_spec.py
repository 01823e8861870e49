"""The task of the training pods: one small JSON in the store, named by its content."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audiotune.domain.dataset import LatentRow, UsedRecording
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Digest
from audiotune.errors import ModelError, TrainingError
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import Store
from components.finetune.settings import Settings
from components.finetune.training_task import TrainingTask


class TrainingTaskSpec(FrozenModel):
    """A TrainingTask in the store; large inputs are references.

    Attributes:
        settings: of the step.
        base_digest: of the step's base model; a pod with another one stops.
        latents: store key of the latents manifest, kept as a blob.
        dataset: digest.
        run_key: of the checkpoints.
        recordings: of the dataset, with their contributors.
        parts: recording -> (start, end) in seconds of what the dataset uses of it.
    """

    settings: dict[str, Any]
    base_digest: Digest
    latents: str
    dataset: Digest
    run_key: Digest
    recordings: dict[Digest, tuple[str, ...]]
    parts: dict[Digest, tuple[tuple[float, float], ...]] = {}


def store_task(store: Store, task: TrainingTask) -> str:
    """Puts a task into the store and returns its key."""
    spec = TrainingTaskSpec(
        settings=task.settings.model_dump(),
        base_digest=task.base.digest,
        latents=store.put_blob(task.latents.to_bytes(), ".jsonl"),
        dataset=task.dataset,
        run_key=task.run_key,
        recordings=dict(task.recordings),
        parts={id: used.parts for id, used in task.recordings.items() if isinstance(used, UsedRecording)},
    )
    return store.put_blob(spec.model_dump_json().encode(), ".json")


def load_task(store: Store, key: str, progress: ProgressCallback) -> TrainingTask:
    """Reads a task and fetches its base model.

    Raises:
        TrainingError: another version wrote the task.
        ModelError: the base changed since the task was written.
    """
    try:
        spec = TrainingTaskSpec.model_validate_json(Path(store.fetch(key)).read_bytes())
        settings = Settings.model_validate(spec.settings)
    except ValidationError as e:
        cure = "take the same image for the step and its training pods"
        raise TrainingError(f"the training task does not fit: {e.errors()[0]['msg']}", where=key, cure=cure) from e
    base = resolve_base(store, settings.base)
    if base.digest != spec.base_digest:
        raise ModelError(
            f"the base {settings.base!r} is another one here than at the step", where="base", cure="run encode again"
        )
    latents = load_manifest(Path(store.fetch(spec.latents)), "latents", LatentRow)
    return TrainingTask(settings, store.url, progress, base, latents, spec.dataset, spec.run_key, _list_used(spec))


def _list_used(spec: TrainingTaskSpec) -> dict[Digest, tuple[str, ...]]:
    """As `contributors_by_recording` gives it."""
    found: dict[Digest, tuple[str, ...]] = {}
    for id, people in spec.recordings.items():
        used = UsedRecording(people)
        used.parts = spec.parts.get(id, ())
        found[id] = used
    return found
