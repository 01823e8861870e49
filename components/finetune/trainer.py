"""The training loop: draw, forward, backward, step, checkpoint. The first process reports to a `TrainingLog`.

A step is a function of the weights, the optimizer state, the seed and the step number only.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from audiotune.domain.checkpoint import Checkpoint
from audiotune.errors import TrainingError
from audiotune.stable_audio.objective import map_to_noise_levels, shift_noise_levels
from components.finetune.background_writer import BackgroundWriter
from components.finetune.compute_backends import ComputeBackend
from components.finetune.latent_dataset import LatentDataset
from components.finetune.onednn_linear import speed_up_linear_layers
from components.finetune.optimizer import RunningMean, compute_learning_rate, make_adamw
from components.finetune.permission_watch import PermissionWatch
from components.finetune.settings import Settings
from components.finetune.training_batches import BatchDraw, derive_seed, draw_batch, split_by_length
from components.finetune.training_log import TrainingLog
from components.finetune.training_model import TrainingModel
from components.finetune.training_state import CheckpointWriter, count_checkpoint_bytes, restore_training_state, take_snapshot
from components.finetune.validation import measure_validation_loss

History = dict[str, list[tuple[int, float]]]


@dataclass
class Trainer:
    """One process of a training run.

    Attributes:
        make_demos: called with the number of a step, while the model is ready to generate; in the first process only.
        history: name -> [(step, value), ...], kept in every checkpoint.
        beside_s: seconds in which the steps stood still, by cause: checkpoint, demos, validation.
        last: the newest checkpoint that is in the store.
    """

    settings: Settings
    backend: ComputeBackend
    model: TrainingModel
    train: LatentDataset
    held_out: LatentDataset | None
    checkpoint_writer: CheckpointWriter
    log: TrainingLog
    permission: PermissionWatch
    make_demos: Callable[[int], object] | None = None
    history: History = field(default_factory=dict)
    beside_s: dict[str, float] = field(default_factory=dict)
    last: Checkpoint | None = None

    def __post_init__(self) -> None:
        self.model.to(self.backend.device).train()
        if self.backend.device.type == "cpu" and self.settings.precision == "fp32":
            speed_up_linear_layers(self.model)
        self.named = self.model.trainable_parameters()
        if self.backend.world > 1:
            self.backend.ignore_parameters(self.model, self._find_unreached_parameters())
        self.optimizer = make_adamw(self.named, self.settings)
        self.mean = RunningMean(self.named, self.settings.ema_decay) if self.settings.ema_decay else None
        self.call: Callable[..., torch.Tensor] = self.backend.prepare(self.model, self.optimizer)
        self.kind = choose_noise_distribution(self.settings, self.model.config)

    def run(self, start: Checkpoint | None) -> Checkpoint | None:
        """Trains from a checkpoint (or from the base) to the last step.

        Returns the last checkpoint in the process that writes them, the first; it always has one.

        Raises:
            TrainingError: the loss or the gradient is not finite; the message names the last good checkpoint.
            ConsentError: somebody in the dataset does not agree any more; no checkpoint was written since they said so.
            StoreError: a checkpoint could not be written.
        """
        done = 0
        if start is not None:
            restore_training_state(self.checkpoint_writer.store, start, self.named, self.optimizer, self.mean)
            self.backend.restore_scaler(start.scalars)
            self.history = {name: list(values) for name, values in start.history.items()}
            done = start.step
        self.last = start
        if self.backend.rank == 0:
            megabytes = count_checkpoint_bytes(self.named, self.settings) / 1e6
            self.log.progress(done / self.settings.steps, f"each checkpoint takes {megabytes:.0f} MB of the store")
        with BackgroundWriter[Checkpoint | None]("writing a checkpoint") as self.background:
            self._run_steps(done)
            self._await_checkpoint()
        if self.last is None and self.backend.rank == 0:
            raise TrainingError("nothing was trained", cure="raise steps above 0")
        return self.last

    def _run_steps(self, done: int) -> None:
        started_at = saved_at = logged_at = time.monotonic()
        errors: list[torch.Tensor] = []
        losses: list[float] = []
        for step in range(done, self.settings.steps):
            errors.append(self._train_step(step))
            count, now = step + 1, time.monotonic()
            out_of_time = bool(self.settings.limit_s) and now - started_at >= self.settings.limit_s
            out_of_time = self._agree_with_first(count, out_of_time or self.permission.is_refused)
            if out_of_time:
                self._require_permission(self.permission.is_refused)
            ended = count == self.settings.steps or out_of_time
            due = ended or count % self.settings.checkpoint_every == 0 or count in self.checkpoint_writer.candidates
            due = due or self._agree_with_first(count, now - saved_at >= self.settings.checkpoint_every_s)
            if due or count % self.settings.log_every == 0:
                losses += self._read_losses(count, errors)
                errors = []
            if ended or count % self.settings.log_every == 0:
                self._log_losses(count, losses, (time.monotonic() - logged_at) / len(losses))
                losses, logged_at = [], time.monotonic()
            self._report_checkpoint(self.background.take_result())
            if due:
                with self._measure("validation"):
                    self._validate_held_out(count)
                with self._measure("checkpoint"):
                    self._start_checkpoint(count, final=ended)
                saved_at = logged_at = time.monotonic()
            if self.make_demos is not None and self._are_demos_due(count, ended=ended):
                with self._measure("demos"), self._generation_mode():
                    self.make_demos(count)
                logged_at = time.monotonic()
            if out_of_time:
                return

    def _are_demos_due(self, step: int, *, ended: bool) -> bool:
        every = self.settings.demo_every
        return bool(self.settings.demos) and (ended or (bool(every) and step % every == 0))

    @contextlib.contextmanager
    def _measure(self, cause: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.beside_s[cause] = self.beside_s.get(cause, 0.0) + time.monotonic() - began

    @contextlib.contextmanager
    def _generation_mode(self) -> Iterator[None]:
        """Within the block the model generates as its release will: with its running mean, in its precision, without dropout."""
        mean = self.mean.lend_to_model() if self.mean is not None else contextlib.nullcontext()
        self.model.eval()
        self.model.padding.set_mask(None, 0)
        try:
            with mean, torch.no_grad(), self.backend.autocast():
                yield
        finally:
            self.model.train()

    def _read_losses(self, step: int, errors: list[torch.Tensor]) -> list[float]:
        """The losses of the steps up to `step`, from what `_train_step` returned. Waits for the GPU.

        Raises TrainingError: one of them, or its gradient, is not finite.
        """
        scaled = self.settings.precision == "fp16"  # the scaler skips steps whose gradient overflowed
        losses = []
        for number, (loss, norm) in enumerate(torch.stack(errors).tolist(), step - len(errors) + 1):
            if not math.isfinite(loss) or not (scaled or math.isfinite(norm)):
                self._await_checkpoint()
                raise _make_divergence_error(number, loss, self.last)
            losses.append(loss)
        return losses

    def _find_unreached_parameters(self) -> set[str]:
        """Names of trainable parameters that no loss depends on: processes must not wait for their gradients."""
        drawn = draw_batch(self.settings, self.train.frames, self.train.channels, 0)
        with self.backend.autocast():
            self.model(self.train.batch_part(drawn, drawn.uniform, 0, 1, self.backend.device, self.model.patch)).sum().backward()
        unreached = {name for name, p in self.model.named_parameters() if p.requires_grad and p.grad is None}
        self.model.zero_grad(set_to_none=True)
        return unreached

    def _train_step(self, step: int) -> torch.Tensor:
        """One optimizer step; returns [mean squared error per latent value, norm of the gradient]. Does not wait for the GPU."""
        settings, backend = self.settings, self.backend
        drawn = draw_batch(settings, self.train.frames, self.train.channels, step)
        frames = self.train.frames[drawn.rows]
        t = shift_noise_levels(
            map_to_noise_levels(self.kind, drawn.uniform, self.noise_options), frames, self.model.wrapper.dist_shift
        )
        values = int(frames.sum()) * self.train.channels
        torch.manual_seed(derive_seed(settings.seed, f"dropout of process {backend.rank}", step))
        for group in self.optimizer.param_groups:
            group["lr"] = compute_learning_rate(settings, step) * group["rate"]
        self.optimizer.zero_grad(set_to_none=True)
        error = self._accumulate_gradients(drawn, t, values)
        norm = backend.clip_gradients(settings.clip_norm)
        backend.step_optimizer()
        if self.mean is not None:
            self.mean.update(step)
        return torch.stack([backend.sum_over_processes(error) / values, norm])

    def _accumulate_gradients(self, drawn: BatchDraw, t: torch.Tensor, values: int) -> torch.Tensor:
        """Adds up the gradients of this process's parts of the batch; returns the sum of its squared errors."""
        backend, accumulate = self.backend, self.settings.accumulate
        rows, parts = len(drawn.rows), backend.world * accumulate
        bounds = list(itertools.pairwise(rows * part // parts for part in range(parts + 1)))
        own = bounds[backend.rank * accumulate : (backend.rank + 1) * accumulate]
        frames = self.train.frames[drawn.rows].tolist()
        own = [tight for start, end in own for tight in split_by_length(frames, start, end, self.model.padding.least_spared)]
        error = torch.zeros((), device=backend.device)
        for start, end in own:
            part = self.train.batch_part(drawn, t, start, end, backend.device, self.model.patch)
            with backend.forward_context(last=end == own[-1][1]):
                squared = self.call(part).sum()
                backend.backward(squared * (backend.world / values))
            error += squared.detach()
        return error

    @property
    def noise_options(self) -> dict[str, float]:
        return dict(self.model.config.get("training", {}).get("timestep_sampler_options") or {})

    def _log_losses(self, step: int, losses: list[float], seconds: float) -> None:
        values = {
            "train_loss": sum(losses) / len(losses),
            "step_s": seconds,
            "learning_rate": compute_learning_rate(self.settings, step - 1),
        }
        self.history.setdefault("train_loss", []).append((step, values["train_loss"]))
        if self.backend.rank == 0:
            self.log.on_losses(step, values)

    def _validate_held_out(self, step: int) -> None:
        if self.held_out is None or not self.settings.validate_rows or self.backend.rank:
            return
        self.model.eval()
        with self.backend.autocast():
            losses = measure_validation_loss(
                self.model, self.held_out, self.settings.validate_rows, self.settings.batch_size, self.backend.device
            )
        self.model.train()
        losses = {f"validation_{name}": value for name, value in losses.items()}
        for name, value in losses.items():
            self.history.setdefault(name, []).append((step, value))
        self.log.on_losses(step, losses)

    def _require_permission(self, is_refused: bool) -> None:
        """Stops every process where the first one knows that somebody does not agree. Raises ConsentError."""
        if self._agree_with_first(self.settings.steps, is_refused):
            self.permission.require()

    def _start_checkpoint(self, step: int, *, final: bool) -> None:
        """Copies the state and has it written while the steps go on. The last one is awaited at the end of the run."""
        self._require_permission(self.backend.rank == 0 and self.permission.ask())
        if self.backend.rank:
            return
        self._await_checkpoint()
        snapshot = take_snapshot(step, self.named, self.optimizer, self.mean, self.backend.scaler_state(), self.history)
        self.background.start_write(lambda: self.checkpoint_writer.write_checkpoint(snapshot, final=final))

    def _await_checkpoint(self) -> None:
        with self._measure("checkpoint"):
            self._report_checkpoint(self.background.wait_for_write())

    def _report_checkpoint(self, written: Checkpoint | None) -> None:
        if written is not None:
            self.last = written
            self.log.on_checkpoint(written)

    def _agree_with_first(self, step: int, mine: bool) -> bool:
        """The first process's value: clocks differ, and all processes must stop or save at the same step.

        Several processes wait for each other here, so they ask only when losses are logged.
        """
        if self.backend.world == 1:
            return mine
        if step % self.settings.log_every and step != self.settings.steps:
            return False
        first = torch.tensor(float(mine and self.backend.rank == 0), device=self.backend.device)
        return bool(self.backend.sum_over_processes(first) > 0)


def choose_noise_distribution(settings: Settings, config: dict[str, object]) -> str:
    """The distribution of noise levels: of the settings, else of the base's config, else uniform."""
    if settings.timesteps != "auto":
        return settings.timesteps
    training = config.get("training")
    return str(training.get("timestep_sampler", "uniform")) if isinstance(training, dict) else "uniform"


def _make_divergence_error(step: int, loss: float, last: Checkpoint | None) -> TrainingError:
    good = f"the last good checkpoint is {last.key}, after step {last.step}" if last else "no checkpoint was made before"
    return TrainingError(
        f"the loss became {loss} or its gradient grew without bound in step {step}; {good}",
        where="finetune",
        cure="lower learning_rate, or set precision to fp32, and run it again: it goes on from there",
    )
