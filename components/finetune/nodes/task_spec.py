"""What the step orders of the training pods: one small JSON in the store, named by its content."""

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
    """A Job that travels by the store: whatever a pod can find there itself is only named.

    Attributes:
        settings: as the step got them.
        base_digest: of the base the step found; a pod that finds another one stops.
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
    """Keeps the order of a job in the store and returns its key."""
    latents = store.put_blob(job.latents.to_bytes(), ".jsonl")
    order = TrainingTaskSpec(
        settings=job.settings.model_dump(),
        base_digest=job.base.digest,
        latents=latents,
        dataset=job.dataset,
        run_key=job.run_key,
    )
    return store.put_blob(order.model_dump_json().encode(), ".json")


def load_task(store: Store, key: str, progress: ProgressCallback) -> TrainingTask:
    """The job of an order, with the base on this machine.

    Raises:
        TrainingError: the order cannot be read: it was given by another version.
        ModelError: the base changed since the order was given.
    """
    try:
        order = TrainingTaskSpec.model_validate_json(Path(store.fetch(key)).read_bytes())
        settings = Settings.model_validate(order.settings)
    except ValidationError as e:
        cure = "take the same image for the step and its training pods"
        raise TrainingError(f"the order does not fit: {e.errors()[0]['msg']}", where=key, cure=cure) from e
    base = resolve_base(store, settings.base)
    if base.digest != order.base_digest:
        raise ModelError(
            f"the base {settings.base!r} is another one here than at the step", where="base", cure="run encode again"
        )
    latents = load_manifest(Path(store.fetch(order.latents)), "latents", LatentRow)
    return TrainingTask(settings, store.url, progress, base, latents, order.dataset, order.run_key)
