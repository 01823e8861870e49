"""Turns a trainer's checkpoint into weights for stable-audio-tools and the generation service.

Tensors are copied from file to file one at a time. Of our checkpoints only the weights are fetched; of upstream's wrapped `.ckpt`
only the pages with these tensors are read. Optimizer and trainer state are never loaded. Weights that were trained elsewhere become a
release like ours when somebody says on which dataset they were trained and whose work they are.
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from audiotune.domain.checkpoint import list_earlier_candidates, load_checkpoint
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.lineage import bind_weights, read_dataset
from audiotune.domain.manifest import load_manifest, manifest_key
from audiotune.domain.release import CheckpointPointer, WeightsPointer
from audiotune.errors import ModelError
from audiotune.governance import require_permission
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.adapter_files import is_foreign_adapter
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.checkpoint_weights import store_checkpoint_weights
from audiotune.stable_audio.model_folder import CONFIG
from audiotune.stable_audio.release_weights import point_to_weights
from audiotune.store import tensor_files
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.port import Store, digest_from_key
from components.executor import StepResult
from components.unwrap.foreign_weights import describe_origin, is_foreign, open_weights_file, store_foreign_weights
from components.unwrap.settings import Settings


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, checkpoint: Path, weights: Path, metrics: Path
) -> StepResult:
    """Writes the weights pointer of a checkpoint pointer (JSON), or of weights that were trained elsewhere.

    Raises:
        ModelError: the base is not the one the checkpoint was tuned from, or their tensors do not fit.
        LineageError: the store says that the same weights were trained on another dataset.
        ConsentError, AgreementError: a contributor of the dataset has not agreed to training, or took it back meanwhile.
    """
    began = time.monotonic()
    if not checkpoint.exists():
        cure = "name the file finetune wrote, a .ckpt or .safetensors, or an adapter"
        raise ModelError("no such checkpoint", where=str(checkpoint), cure=cure)
    if is_foreign(checkpoint):
        unwrapped = _unwrap_foreign(settings, store, progress, checkpoint)
    else:
        unwrapped = _unwrap_own_checkpoint(settings, store, progress, _read_pointer(checkpoint))
    _require_permission(store, unwrapped.dataset)
    if unwrapped.dataset:  # weights from elsewhere may name none, and cannot be registered then
        bind_weights(store, unwrapped)
    write_atomic_file(weights, unwrapped.model_dump_json(indent=1) + "\n")
    progress(1.0, f"weights of step {unwrapped.step} are in the store")
    return StepResult(
        metrics={"megabytes": round(store.size(unwrapped.weights) / 1e6, 3), "seconds": round(time.monotonic() - began, 2)},
        metadata={"weights": {"key": unwrapped.weights, "digest": unwrapped.weights_digest}},
    )


def _require_permission(store: Store, dataset: str) -> None:
    """Asks the people of the dataset. Of one that is not in the store `register` asks, which keeps it there."""
    if dataset and store.exists(manifest_key("datasets", dataset)):
        require_permission(store, "finetune", contributors_by_recording(read_dataset(store, dataset)))


def _read_pointer(path: Path) -> CheckpointPointer:
    try:
        return CheckpointPointer.model_validate_json(path.read_bytes())
    except ValidationError as e:
        cure = "name the file finetune wrote, or a .ckpt"
        raise ModelError(f"this is no checkpoint pointer: {e.errors()[0]['msg']}", where=str(path), cure=cure) from e


def _unwrap_own_checkpoint(
    settings: Settings, store: Store, progress: ProgressCallback, pointer: CheckpointPointer
) -> WeightsPointer:
    kept = load_checkpoint(store, pointer.checkpoint)
    _require_permission(store, kept.dataset)
    progress(0.1, f"finding the base model {kept.base}")
    base = resolve_base(store, kept.base)
    if base.digest != kept.base_digest:
        raise ModelError(
            f"{kept.base} is not the base this checkpoint was tuned from", where=kept.key, cure="bring the old base back"
        )
    ema = bool(kept.ema) if settings.ema is None else settings.ema
    if ema and not kept.ema:
        raise ModelError("the checkpoint has no running mean", where=kept.key, cure="leave ema unset, or train with ema_decay")
    progress(0.3, "writing the weights")
    key, adapter = store_checkpoint_weights(store, store, kept, base, ema=ema, keep=settings.lora == "keep")
    facts = {"dataset": kept.dataset, "run": kept.run, "recipe": kept.recipe, "adapter": adapter, "origin": kept.origin}
    earlier = list_earlier_candidates(store, kept)
    at = {"step": kept.step, "ema": ema, "earlier": earlier}
    return point_to_weights(store, key, base.folder, kept.base, kept.base_digest, **at, **facts)


def _unwrap_foreign(settings: Settings, store: Store, progress: ProgressCallback, path: Path) -> WeightsPointer:
    if not settings.dataset and not is_foreign_adapter(path):
        return _unwrap_for_own_use(settings, store, progress, path)
    if not settings.base:
        raise ModelError("an adapter without its base", where=str(path), cure="name the base that it was tuned from")
    base = resolve_base(store, settings.base)
    origin = describe_origin(settings, path) if settings.made_by and settings.licence else None
    dataset = _keep_dataset(store, settings.dataset) if settings.dataset else ""
    _require_permission(store, dataset)
    progress(0.3, "reading the weights, and writing them into the store")
    stored = store_foreign_weights(settings, store, path, base, origin)
    facts = {"step": stored.step, "ema": stored.ema, "adapter": stored.adapter, "origin": origin, "dataset": dataset}
    return point_to_weights(store, stored.weights, base.folder, settings.base, base.digest, **facts)


def _keep_dataset(store: Store, name: str) -> str:
    """The digest of a dataset by file or store key; the store has it then."""
    path = Path(name)
    rows = load_manifest(path if path.is_file() else store.get(name), "datasets", DatasetRow)
    if not store.exists(rows.key):
        rows.save(store)
    return rows.digest


def _unwrap_for_own_use(settings: Settings, store: Store, progress: ProgressCallback, path: Path) -> WeightsPointer:
    """Weights of which nobody says what they were trained on: only their config is needed, and they cannot be registered."""
    folder = Path(settings.base) if settings.base else path.parent
    if not (folder / CONFIG).is_file():
        if not settings.base:
            raise ModelError(f"no {CONFIG} beside the checkpoint", where=str(path), cure="put it there, or name the base")
        folder = resolve_base(store, settings.base).folder
    progress(0.3, "writing the weights")
    with open_weights_file(path, ema=settings.ema) as (tensors, ema, step):
        key = tensor_files.store_tensors(store, tensors)
    facts = {"step": step, "ema": ema, "dataset": ""}
    pointer = point_to_weights(store, key, folder, settings.base or path.name, digest_from_key(key) or "", **facts)
    return pointer.model_copy(update={"base": path.name})
