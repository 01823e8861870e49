"""Fine-tunes a base model on latents. Continues from the last checkpoint; does nothing if all steps are done."""

import contextlib
import hashlib
import json
from pathlib import Path

from audiotune.domain import checkpoint as checkpoints
from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import DatasetRow, LatentRow, contributors_by_recording
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.release import CheckpointPointer
from audiotune.errors import NotInStoreError, SettingsError, TrainingError
from audiotune.governance import require_permission
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import BaseModelFolder, resolve_base
from audiotune.store import Store
from audiotune.store.atomic_files import write_atomic_file
from audiotune.withdrawal.retraining import require_disjoint
from components.executor import StepResult
from components.finetune.lora_start import require_start_lineage
from components.finetune.settings import ADDED, UNLEARNED, Settings
from components.finetune.training_task import TrainingResult, TrainingTask


def run_step(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    *,
    latents: Path,
    dataset: Path,
    checkpoint: Path,
    report: Path,
    metrics: Path,
) -> StepResult:
    """Trains and writes the checkpoint pointer (JSON) and the report (HTML).

    Raises:
        ConsentError, AgreementError: a contributor of the dataset has not agreed to training, or took it back meanwhile.
        SettingsError: settings that do not fit each other or the latents.
        TrainingError: training cannot go on.
    """
    captioned = load_manifest(dataset, "datasets", DatasetRow)
    encoded = load_manifest(latents, "latents", LatentRow)
    recordings = contributors_by_recording(captioned)
    require_permission(store, "finetune", recordings)
    require_disjoint(store, captioned, encoded)
    require_start_lineage(store, settings, captioned)
    base = resolve_base(store, settings.base)
    _check_inputs(settings, encoded, captioned.digest, base)
    key = compute_run_key(settings, encoded, base)
    task = TrainingTask(settings, store.url, progress, base, encoded, captioned.digest, key, recordings)
    done = checkpoints.find_newest_checkpoint(store, key, settings.steps)
    if done is not None and done.step == settings.steps:
        progress(1.0, f"step {done.step} was reached before; nothing to do")
        outcome = TrainingResult(done)
    else:
        outcome = _train_on_nodes(task, store) if settings.nodes > 1 else _train_locally(task)
    require_permission(store, "finetune", recordings)  # it may have taken hours
    report.write_text(outcome.page or _load_report(store, outcome.checkpoint, settings, encoded), encoding="utf-8")
    _write_pointer(outcome.checkpoint, base, checkpoint)
    return StepResult(metrics=_collect_metrics(outcome.checkpoint), metadata={"checkpoint": {"key": outcome.checkpoint.key}})


def compute_run_key(settings: Settings, latents: Manifest[LatentRow], base: BaseModelFolder) -> str:
    """The hash of everything that determines the weights; of the number of steps only if the schedule depends on it."""
    learned = {name: value for name, value in settings.model_dump().items() if name not in UNLEARNED | {"base"}}
    for name in ADDED:
        if learned[name] == Settings.model_fields[name].default:
            del learned[name]
    if settings.schedule != "cosine":
        del learned["steps"]
    inputs = [1, learned, latents.digest, base.digest]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _check_inputs(settings: Settings, latents: Manifest[LatentRow], dataset: str, base: BaseModelFolder) -> None:
    if latents.meta.get("dataset") != dataset:
        raise SettingsError("the latents were made of another dataset", where="latents", cure="run encode on this dataset")
    if latents.meta.get("base_digest") != base.digest:
        raise SettingsError(
            f"the latents were made with {latents.meta.get('base')!r} as it was then, not with {settings.base!r} as it is now",
            where="base",
            cure="set the same base for encode and finetune, and run encode again if the base changed",
        )
    processes = settings.nodes * settings.devices
    if processes * settings.accumulate > settings.batch_size:
        raise SettingsError(
            f"a batch of {settings.batch_size} cannot be divided into {processes} x {settings.accumulate} parts",
            where="batch_size",
            cure="raise batch_size, or lower nodes, devices or accumulate",
        )


def _train_locally(task: TrainingTask) -> TrainingResult:
    from components.finetune.compute_backends import launch_processes
    from components.finetune.training_process import run_training

    task.progress(0.0, f"loading {task.base.name}")
    outcome: TrainingResult = launch_processes(task.settings, run_training, task)
    return outcome


def _train_on_nodes(task: TrainingTask, store: Store) -> TrainingResult:
    """Trains in a TrainJob; its first process writes checkpoint and report to the store."""
    from components.finetune.nodes.node_resources import node_resources_from_environment
    from components.finetune.nodes.task_spec import store_task
    from components.finetune.nodes.trainjob import build_trainjob
    from components.finetune.nodes.trainjob_controller import make_controller

    place, settings = node_resources_from_environment(), task.settings
    controller = make_controller(place, task.progress)
    command = ["python", "-m", "components.finetune.nodes", store_task(store, task)]
    controller.run_trainjob(
        build_trainjob(place, controller.pod, task.run_key, nodes=settings.nodes, devices=settings.devices, command=command)
    )
    done = checkpoints.find_newest_checkpoint(store, task.run_key, settings.steps)
    if done is None:
        raise TrainingError("the training ended and left no checkpoint", where=store.url, cure="do its pods see the same store?")
    return TrainingResult(done)


def _load_report(store: Store, done: Checkpoint, settings: Settings, latents: Manifest[LatentRow]) -> str:
    """The stored report of an earlier run, else a new one without sounds."""
    from components.finetune.report import render_report

    with contextlib.suppress(NotInStoreError):
        return store.get(done.report_key).decode()
    return render_report(done, settings, latents.rows)


def _write_pointer(done: Checkpoint, base: BaseModelFolder, path: Path) -> None:
    same = done.model_dump(include={"step", "base", "dataset", "kind", "run", "recipe"})
    pointer = CheckpointPointer(checkpoint=done.key, base_digest=base.digest, **same)
    write_atomic_file(path, pointer.model_dump_json(indent=1) + "\n")


def _collect_metrics(done: Checkpoint) -> dict[str, float]:
    """The first and last value of every curve."""
    values: dict[str, float] = {"step": done.step}
    for name, points in done.history.items():
        if points and "_t_" not in name:
            values |= {f"{name}_first": round(points[0][1], 6), name: round(points[-1][1], 6)}
    return values
