"""Runs the finetune step in child processes that are killed where the caller says; one import for all of them.

    python -m tests.integration.training_driver FOLDER      FOLDER holds store/, base/, dataset.jsonl, latents.jsonl

Prints one JSON line: scenario -> blobs of the last checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from audiotune.domain.checkpoint import load_checkpoint
from audiotune.domain.release import CheckpointPointer
from audiotune.stable_audio.load import load_model
from audiotune.store import FolderStore
from components.finetune.settings import Settings
from components.finetune.step import run_step

KNOBS = {
    "steps": 9,
    "batch_size": 4,
    "checkpoint_every": 4,
    "candidates": 1,
    "learning_rate": 1e-3,
    "ema_decay": 0.9,
    "log_every": 1,
    "keep_last": 1,
    "experiment": "",
    "demos": 0,
    "validate_rows": 2,
    "warmup_steps": 3,
    "threads": 1,
}
Progress = Callable[[float, str], None]


def killing_after(step: int) -> Progress:
    """Kills its own process, hard, when a step was logged; 0 never does."""

    def progress(share: float, words: str) -> None:
        if step and words.startswith(f"step {step} of"):
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def child(folder: Path, knobs: dict[str, object], progress: Progress) -> int:
    """Forks a process that runs the step; returns its id."""
    process = os.fork()
    if process:
        return process
    try:
        paths = {name: folder / f"{name}.out" for name in ("checkpoint", "report", "metrics")}
        settings = Settings.model_validate({**KNOBS, **knobs, "base": str(folder / "base")})
        store = FolderStore(folder / "store")
        run_step(settings, store, progress, latents=folder / "latents.jsonl", dataset=folder / "dataset.jsonl", **paths)
    except BaseException as e:
        print(repr(e), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def ended(process: int) -> int:
    """Waits; returns the exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def blobs(folder: Path) -> dict[str, object]:
    """What the last checkpoint says."""
    pointer = CheckpointPointer.model_validate_json((folder / "checkpoint.out").read_bytes())
    found = load_checkpoint(FolderStore(folder / "store"), pointer.checkpoint)
    return {"step": found.step, "weights": found.weights, "ema": found.ema, "optimizer": found.optimizer}


def forget(folder: Path) -> None:
    """Removes all checkpoints, so that the next scenario starts from the base."""
    store = FolderStore(folder / "store")
    for entry in list(store.list("checkpoints/")):
        store.delete(entry.key)


def killed_in_checkpoint(folder: Path, knobs: dict[str, object]) -> int:
    """Kills a child from outside as soon as it writes the blobs of its first checkpoint."""
    before = {entry.key for entry in FolderStore(folder / "store").list("blobs/")}
    process = child(folder, knobs, killing_after(0))
    while {entry.key for entry in FolderStore(folder / "store").list("blobs/")} <= before:
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    return ended(process)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    load_model(folder / "base")  # here, so that no child has to import what it needs
    found: dict[str, object] = {}
    for mode in ("full", "lora"):
        knobs: dict[str, object] = {"mode": mode, "lora_dropout": 0.1 if mode == "lora" else 0.0}
        assert ended(child(folder, knobs, killing_after(0))) == 0
        found[f"{mode}, whole"] = blobs(folder)
        for step in (2, 5, 8) if mode == "full" else (5,):
            forget(folder)
            assert ended(child(folder, knobs, killing_after(step))) == -signal.SIGKILL
            assert ended(child(folder, knobs, killing_after(0))) == 0
            found[f"{mode}, killed after {step}"] = blobs(folder)
    forget(folder)
    for entry in list(FolderStore(folder / "store").list("blobs/")):  # else nothing new would be written
        if entry.key in (found["full, whole"] or {}).values():  # type: ignore[attr-defined]
            FolderStore(folder / "store").delete(entry.key)
    assert killed_in_checkpoint(folder, {"mode": "full"}) == -signal.SIGKILL
    assert ended(child(folder, {"mode": "full"}, killing_after(0))) == 0
    found["full, killed in a checkpoint"] = blobs(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
