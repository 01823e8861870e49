"""Fine-tunes a base model on latents; finds its own checkpoints, goes on from the last, does nothing when all is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from audiotune import checkpoint as checkpoints
from audiotune.checkpoint import Checkpoint
from audiotune.dataset import DatasetRow, LatentRow, recordings_of
from audiotune.errors import NotInStoreError, SettingsError, TrainingError
from audiotune.governance import require
from audiotune.manifest import Manifest, load
from audiotune.partial import write_whole
from audiotune.progress import Progress
from audiotune.release import CheckpointPointer
from audiotune.stable_audio.mirror import Base, resolve
from audiotune.store import Store
from components.executor import Result
from components.finetune.job import Job, Outcome
from components.finetune.settings import UNLEARNED, Settings


def run(
    settings: Settings,
    store: Store,
    progress: Progress,
    *,
    latents: Path,
    dataset: Path,
    checkpoint: Path,
    report: Path,
    metrics: Path,
) -> Result:
    """Trains and writes the checkpoint pointer and the report.

    Args:
        latents, dataset: manifests; the latents must have been made of this dataset and of the base in the settings.
        checkpoint, report: where the pointer (JSON) and the page (HTML) go.
        metrics: unused; the numbers are in the result.

    Raises:
        ConsentError, AgreementError: somebody heard in the dataset has not agreed to training.
        SettingsError: knobs that do not fit each other or the latents.
        TrainingError: training cannot go on.
    """
    captioned = load(dataset, "datasets", DatasetRow)
    encoded = load(latents, "latents", LatentRow)
    require(store, "finetune", recordings_of(captioned))
    base = resolve(store, settings.base)
    _check(settings, encoded, captioned.digest, base)
    key = run_key(settings, encoded, base)
    job = Job(settings, store.url, progress, base, encoded, captioned.digest, key)
    done = checkpoints.newest(store, key, settings.steps)
    if done is not None and done.step == settings.steps:
        progress(1.0, f"step {done.step} was reached before; nothing to do")
        outcome = Outcome(done)
    else:
        outcome = _trained_on_nodes(job, store) if settings.nodes > 1 else _trained(job)
    report.write_text(outcome.page or _page_again(store, outcome.checkpoint, settings, encoded), encoding="utf-8")
    _point(outcome.checkpoint, base, checkpoint)
    return Result(metrics=_metrics(outcome.checkpoint), metadata={"checkpoint": {"key": outcome.checkpoint.key}})


def run_key(settings: Settings, latents: Manifest[LatentRow], base: Base) -> str:
    """Names a training run by all that decides what it learns; the number of steps is left out where it decides nothing."""
    learned = {name: value for name, value in settings.model_dump().items() if name not in UNLEARNED | {"base"}}
    if settings.schedule != "cosine":
        del learned["steps"]
    what = [1, learned, latents.digest, base.digest]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _check(settings: Settings, latents: Manifest[LatentRow], dataset: str, base: Base) -> None:
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


def _trained(job: Job) -> Outcome:
    from components.finetune.machine import launch
    from components.finetune.process import train

    job.progress(0.0, f"loading {job.base.name}")
    outcome: Outcome = launch(job.settings, train, job)
    return outcome


def _trained_on_nodes(job: Job, store: Store) -> Outcome:
    """By a TrainJob; its first process leaves checkpoint and report in the store."""
    from components.finetune.nodes.order import give
    from components.finetune.nodes.place import place_from_environment
    from components.finetune.nodes.run import conductor
    from components.finetune.nodes.trainjob import trainjob

    place = place_from_environment()
    leader = conductor(place, job.progress)
    command = ["python", "-m", "components.finetune.nodes", give(store, job)]
    settings = job.settings
    leader.lead(trainjob(place, leader.pod, job.run_key, nodes=settings.nodes, devices=settings.devices, command=command))
    done = checkpoints.newest(store, job.run_key, settings.steps)
    if done is None:
        raise TrainingError("the training ended and left no checkpoint", where=store.url, cure="do its pods see the same store?")
    return Outcome(done)


def _page_again(store: Store, done: Checkpoint, settings: Settings, latents: Manifest[LatentRow]) -> str:
    """The report of a run that ended before: as it was kept, else made again without sounds."""
    from components.finetune.story import tell

    with contextlib.suppress(NotInStoreError):
        return store.get(done.page_key).decode()
    return tell(done, settings, [], latents.rows)


def _point(made: Checkpoint, base: Base, path: Path) -> None:
    pointer = CheckpointPointer(
        checkpoint=made.key,
        step=made.step,
        base=made.base,
        base_digest=base.digest,
        dataset=made.dataset,
        kind=made.kind,
        run=made.run,
        recipe=made.recipe,
    )
    write_whole(path, pointer.model_dump_json(indent=1) + "\n")


def _metrics(made: Checkpoint) -> dict[str, float]:
    """First and last of every curve."""
    found: dict[str, float] = {"step": made.step}
    for name, points in made.history.items():
        if points and ("_t_" not in name):
            found |= {f"{name}_first": round(points[0][1], 6), name: round(points[-1][1], 6)}
    return found
