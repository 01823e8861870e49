"""One process of a training run, from loading the base to the demos. Each GPU has one."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiotune.domain import checkpoint as checkpoints
from audiotune.domain.checkpoint import Checkpoint
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.threads import use_threads
from audiotune.stable_audio.weight_merging import LoraWeights
from audiotune.store import open_store
from components.finetune.compute_backends import ComputeBackend
from components.finetune.demos import DemoMaker
from components.finetune.latent_dataset import LatentDataset
from components.finetune.lora_start import find_start_origin, read_start
from components.finetune.lora_training import describe_adapters
from components.finetune.memory_plan import name_full_memory
from components.finetune.permission_watch import EVERY_S, PermissionWatch
from components.finetune.report import render_report
from components.finetune.trainer import Trainer
from components.finetune.training_log import TrainingLog, UntrackedRun
from components.finetune.training_model import TrainingModel
from components.finetune.training_state import CheckpointWriter
from components.finetune.training_task import TrainingResult, TrainingTask


def run_training(backend: ComputeBackend, task: TrainingTask) -> TrainingResult | None:
    """Trains as one of `backend.world` processes. The first writes checkpoints, logs and demos and returns the result.

    On a CPU it uses the number of threads of the settings: sums over another number of threads round differently.
    """
    threads = use_threads(task.settings.threads) if backend.device.type == "cpu" else contextlib.nullcontext()
    with threads, name_full_memory(task.settings):
        return _run_training(backend, task)


def _run_training(backend: ComputeBackend, task: TrainingTask) -> TrainingResult | None:
    settings, store = task.settings, open_store(task.store_url)
    sa = load_model(task.base.folder, base=task.base.name)
    start_adapter = read_start(store, settings)
    tuned = TrainingModel(sa, settings, start_adapter)
    split = {name: [row for row in task.latents.rows if row.split == name] for name in ("train", "held_out")}
    cached = not tuned.learns_words
    held_out = LatentDataset(split["held_out"], store, cached_words=cached) if split["held_out"] else None
    train_rows = LatentDataset(split["train"], store, cached_words=cached)
    start = checkpoints.find_newest_checkpoint(store, task.run_key, settings.steps)
    asks_every_s = 0.0 if backend.rank else EVERY_S
    with _open_log(task, start, backend.rank) as log, PermissionWatch(store, task.recordings, asks_every_s) as permission:
        facts = _collect_facts(task, start_adapter)
        checkpoint_writer = CheckpointWriter(
            store,
            facts,
            settings.keep_last,
            log.run.id,
            may_write=lambda: not permission.ask(),
            candidates=checkpoints.list_candidate_steps(settings.steps, settings.candidates),
        )
        demos = DemoMaker(sa, store, task.latents.rows, settings, log.on_demos)
        trainer = Trainer(settings, backend, tuned, train_rows, held_out, checkpoint_writer, log, permission)
        if backend.rank == 0:
            trainer.make_demos = demos.make_round
        last = trainer.run(start)
        return _finish_run(last, trainer, demos, task, log) if last is not None and backend.rank == 0 else None


def _collect_facts(task: TrainingTask, start: LoraWeights | None) -> dict[str, Any]:
    settings = task.settings
    return {
        "run_key": task.run_key,
        "kind": settings.mode,
        "lora": describe_adapters(settings, start) if settings.mode == "lora" else {},
        "origin": find_start_origin(open_store(task.store_url), settings),
        "base": task.base.name,
        "base_digest": task.base.digest,
        "dataset": task.dataset,
        "latents": task.latents.digest,
        "recipe": settings.model_dump(),
    }


@contextlib.contextmanager
def _open_log(task: TrainingTask, start: Checkpoint | None, rank: int) -> Iterator[TrainingLog]:
    """The run's log, which ends with the result of the training; in other processes one that writes nothing."""
    if rank:
        yield TrainingLog(task.settings, task.progress, UntrackedRun())
        return
    log = TrainingLog.open_run(task.settings, task.progress, task.settings.model_dump(), start.run if start else "")
    try:
        yield log
    except BaseException:
        log.end("FAILED")
        raise
    log.end("FINISHED")


def _finish_run(last: Checkpoint, trainer: Trainer, demos: DemoMaker, task: TrainingTask, log: TrainingLog) -> TrainingResult:
    """Logs report and recipe."""
    if trainer.permission.ask():
        trainer.permission.require()
    page = render_report(last, task.settings, task.latents.rows, demos.rounds, demos.truth, trainer.beside_s)
    trainer.checkpoint_writer.store.put(last.report_key, page.encode())
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("recipe.json", json.dumps(last.recipe, indent=1)), ("report.html", page)):
            (Path(folder) / name).write_text(text, encoding="utf-8")
            log.log_file(Path(folder) / name, "")
    return TrainingResult(last, page)
