"""Logs a run's losses, checkpoints and demos to MLflow, the step's log and, if set, Weights & Biases.

Tracking must be reachable when a run starts. If it fails later, training goes on and the log reports it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from audiotune.domain.checkpoint import Checkpoint
from audiotune.errors import AudioTuneError
from audiotune.reporting.progress import ProgressCallback
from components.finetune.demo_sounds import TRUTH, DemoRound, DemoSound, write_demo_files
from components.finetune.settings import Settings

_Result = TypeVar("_Result")


class UntrackedRun:
    """A run that is logged nowhere."""

    id = ""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def log_file(self, path: Path, folder: str) -> None: ...

    def end(self, status: str) -> None: ...


@dataclass
class TrainingLog:
    """The callback of a trainer. `run` is an `audiotune.registry.runs.MlflowRun`. Sounds are sent in a thread of their own."""

    settings: Settings
    progress: ProgressCallback
    run: Any
    wandb: Any = None
    sender: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="sounds"))
    has_truth: bool = False

    @classmethod
    def open_run(cls, settings: Settings, progress: ProgressCallback, params: dict[str, Any], run_id: str = "") -> TrainingLog:
        """Starts a run, or continues the run of an earlier checkpoint."""
        run: Any = UntrackedRun()
        if settings.experiment:
            from audiotune.registry.runs import start_run

            run = start_run(settings.experiment, f"finetune {settings.mode} on {settings.base}", params, run_id=run_id or None)
        return cls(settings, progress, run, _start_wandb(settings, params, run.id))

    def on_losses(self, step: int, values: dict[str, float]) -> None:
        self._try_logging("metrics", lambda: self.run.log_metrics(values, step))
        if self.wandb is not None:
            self._try_logging("Weights & Biases", lambda: self.wandb.log(values, step=step))
        if "train_loss" in values:
            words = f"step {step} of {self.settings.steps}, loss {values['train_loss']:.4f}, {values['step_s']:.2f} s a step"
        else:
            words = f"step {step}, held-out loss {values['validation_mean']:.4f}"
        self.progress(step / self.settings.steps, words)

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.progress(checkpoint.step / self.settings.steps, f"checkpoint after step {checkpoint.step} is in the store")

    def on_demos(self, made: DemoRound, truth: Sequence[DemoSound]) -> None:
        """Logs a round of demos, and once the recordings beside them; says where there are none, and why."""
        share = made.step / self.settings.steps
        self._try_logging("metrics", lambda: self.run.log_metrics({"demos_failed": float(bool(made.fault))}, made.step))
        if made.fault:
            print(f"no demos after step {made.step}: {made.fault}; training goes on", file=sys.stderr, flush=True)
            self.progress(share, f"no demos after step {made.step}: {made.fault}")
            return
        self.progress(share, f"{len(made.sounds)} demos after step {made.step} took {made.duration_s:.1f} s")
        self.sender.submit(self._log_sounds, made.sounds, made.folder)
        if truth and not self.has_truth:
            self.sender.submit(self._log_sounds, truth, TRUTH)
            self.has_truth = True

    def log_file(self, path: Path, folder: str) -> None:
        self._try_logging(path.name, lambda: self.run.log_file(path, folder))

    def _log_sounds(self, sounds: Sequence[DemoSound], folder: str) -> None:
        with tempfile.TemporaryDirectory() as local:
            for path in self._try_logging("demos", lambda: write_demo_files(sounds, Path(local))) or ():
                self.log_file(path, folder)

    def end(self, status: str) -> None:
        self.sender.shutdown()
        self._try_logging("the end of the run", lambda: self.run.end(status))
        if self.wandb is not None:
            self._try_logging("Weights & Biases", lambda: self.wandb.finish(exit_code=0 if status == "FINISHED" else 1))

    def _try_logging(self, subject: str, act: Callable[[], _Result]) -> _Result | None:
        try:
            return act()
        except (AudioTuneError, OSError, RuntimeError, ValueError) as e:
            print(f"could not log {subject}: {e}; training goes on", file=sys.stderr, flush=True)
            return None


def _start_wandb(settings: Settings, params: dict[str, Any], run_id: str) -> Any:
    if not settings.wandb_project:
        return None
    import wandb

    return wandb.init(project=settings.wandb_project, config=params, id=run_id or None, resume="allow")
