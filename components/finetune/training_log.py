"""Logs a run's losses, checkpoints and demos to MLflow, the step's log and, if set, Weights & Biases.

Tracking must be reachable when a run starts. If it fails later, training goes on and the log reports it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from audiotune.domain.checkpoint import Checkpoint
from audiotune.errors import AudioTuneError
from audiotune.reporting.progress import ProgressCallback
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
    """The callback of a trainer. `run` is an `audiotune.registry.runs.Run`."""

    settings: Settings
    progress: ProgressCallback
    store_url: str
    run: Any
    wandb: Any = None
    demo: subprocess.Popen[bytes] | None = field(default=None)

    @classmethod
    def open_run(
        cls, settings: Settings, progress: ProgressCallback, store_url: str, params: dict[str, Any], run_id: str = ""
    ) -> TrainingLog:
        """Starts a run, or continues the run of an earlier checkpoint."""
        run: Any = UntrackedRun()
        if settings.experiment:
            from audiotune.registry.runs import start_run

            run = start_run(settings.experiment, f"finetune {settings.mode} on {settings.base}", params, run_id=run_id or None)
        return cls(settings, progress, store_url, run, _start_wandb(settings, params, run.id))

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
        every = self.settings.demo_every
        if every and self.settings.demos and not checkpoint.final and checkpoint.step % every < self.settings.checkpoint_every:
            self._start_demo(checkpoint)

    def log_file(self, path: Path, folder: str) -> None:
        self._try_logging(path.name, lambda: self.run.log_file(path, folder))

    def end(self, status: str) -> None:
        self._try_logging("the end of the run", lambda: self.run.end(status))
        if self.wandb is not None:
            self._try_logging("Weights & Biases", lambda: self.wandb.finish(exit_code=0 if status == "FINISHED" else 1))
        if self.demo is not None and self.demo.poll() is None:
            self.demo.wait()

    def _start_demo(self, checkpoint: Checkpoint) -> None:
        """Starts a process for the demos of a checkpoint, unless the last one still runs."""
        if self.demo is not None and self.demo.poll() is None:
            return
        command = [sys.executable, "-m", "components.finetune.demos", self.store_url, checkpoint.key]
        self.demo = self._try_logging("demos", lambda: subprocess.Popen(["nice", "-n", "15", *command]))

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
