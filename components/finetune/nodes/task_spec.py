"""The task that the step gives to the training pods: one small JSON in the store, named by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Digest
from audiotune.errors import ModelError, TrainingError
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import Store
from components.finetune.settings import Settings
from components.finetune.training_task import TrainingTask


class TrainingTaskSpec(BaseModel):
    """A TrainingTask as it is kept in the store. What a pod can find in the store itself is only named.

    Attributes:
        settings: of the step.
        base_digest: of the base model that the step found; a pod that finds another one stops.
        latents: store key of the latents manifest, kept as a blob.
        dataset: digest.
        run_key: where checkpoints are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    base_digest: Digest
    latents: str
    dataset: Digest
    run_key: Digest


def store_task(store: Store, job: TrainingTask) -> str:
    """Keeps a task in the store and returns its key."""
    latents = store.put_blob(job.latents.to_bytes(), ".jsonl")
    spec = TrainingTaskSpec(
        settings=job.settings.model_dump(),
        base_digest=job.base.digest,
        latents=latents,
        dataset=job.dataset,
        run_key=job.run_key,
    )
    return store.put_blob(spec.model_dump_json().encode(), ".json")


def load_task(store: Store, key: str, progress: ProgressCallback) -> TrainingTask:
    """Reads a task, and brings its base model to this machine.

    Raises:
        TrainingError: the task cannot be read, since another version wrote it.
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
    return TrainingTask(settings, store.url, progress, base, latents, spec.dataset, spec.run_key)
