"""Saves the training state as a checkpoint in the store, and restores it."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from audiotune.domain.checkpoint import Checkpoint, prune_checkpoints
from audiotune.errors import ModelError
from audiotune.store import tensor_files
from audiotune.store.port import Store
from components.finetune.compact_adamw import BLOCK
from components.finetune.optimizer import RunningMean, collect_optimizer_tensors, restore_optimizer
from components.finetune.settings import Settings

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class StateSnapshot:
    """A training's state after a step, in the host's memory: the training may go on while it is written.

    Attributes:
        ema: the running mean of the weights; None if there is none.
    """

    step: int
    weights: Tensors
    optimizer: Tensors
    ema: Tensors | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of its tensors: what a checkpoint of it takes in the store, but for a few kilobytes."""
        return sum(tensor.nbytes for part in (self.weights, self.optimizer, self.ema or {}) for tensor in part.values())


def take_snapshot(
    step: int,
    named: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    mean: RunningMean | None,
    scalars: Mapping[str, float],
    history: Mapping[str, list[tuple[int, float]]],
) -> StateSnapshot:
    """Copies the state into the host's memory; from a GPU all tensors at once, with one wait at the end."""
    snapshot = StateSnapshot(
        step=step,
        weights=_copy_to_host(dict(named)),
        optimizer=_copy_to_host(collect_optimizer_tensors(named, optimizer)),
        ema=_copy_to_host(mean.mean) if mean is not None else None,
        scalars=dict(scalars),
        history={name: list(values) for name, values in history.items()},
    )
    if any(p.is_cuda for p in named.values()):
        torch.cuda.synchronize()
    return snapshot


def _copy_to_host(tensors: Tensors) -> dict[str, torch.Tensor]:
    copies = {}
    for name, tensor in tensors.items():
        source = tensor.detach()
        copies[name] = torch.empty_like(source, device="cpu", pin_memory=source.is_cuda).copy_(source, non_blocking=True)
    return copies


def count_checkpoint_bytes(named: Mapping[str, nn.Parameter], settings: Settings) -> int:
    """Bytes of the tensors in each checkpoint of a training, before it begins."""
    mean = 4 if settings.ema_decay else 0
    return sum(p.nbytes + mean * p.numel() + _count_moment_bytes(p.numel(), settings.optimizer_state) for p in named.values())


def _count_moment_bytes(values: int, kind: str) -> int:
    """Of AdamW's two moments and its step."""
    if kind == "int8":
        return math.ceil(values / BLOCK) * 2 * (BLOCK + 4) + 4
    return values * {"fp32": 8, "bf16": 4}[kind] + 4


@dataclass
class CheckpointWriter:
    """Writes checkpoints of one run.

    Attributes:
        facts: fields of every checkpoint of the run (run key, base, dataset, recipe, ...).
        keep_last: number of checkpoints to keep.
        candidates: steps whose weights are kept to choose from.
        may_write: asked when everything but the JSON is in the store; None writes without asking.
    """

    store: Store
    facts: Mapping[str, Any]
    keep_last: int
    run: str = field(default="")
    may_write: Callable[[], bool] | None = None
    candidates: Collection[int] = ()

    def write_checkpoint(self, snapshot: StateSnapshot, *, final: bool) -> Checkpoint | None:
        """Stores blobs, then the JSON with their keys, then deletes older checkpoints. None where it may not be written."""
        checkpoint = Checkpoint(
            step=snapshot.step,
            final=final,
            weights=_put_tensors(self.store, snapshot.weights),
            ema="" if snapshot.ema is None else _put_tensors(self.store, snapshot.ema),
            optimizer=_put_tensors(self.store, snapshot.optimizer),
            scalars=dict(snapshot.scalars),
            history=dict(snapshot.history),
            run=self.run,
            **dict(self.facts),
        )
        if self.may_write is not None and not self.may_write():
            return None
        checkpoint.save(self.store)
        prune_checkpoints(self.store, checkpoint.run_key, self.keep_last, self.candidates)
        return checkpoint


def restore_training_state(
    store: Store,
    checkpoint: Checkpoint,
    named: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer | None = None,
    mean: RunningMean | None = None,
) -> None:
    """Restores parameters, optimizer and running mean. Raises ModelError for a checkpoint with other parameters."""
    weights = tensor_files.read_tensors(store.fetch(checkpoint.weights))
    if weights.keys() != named.keys():
        raise ModelError("the checkpoint was made of another model", where=checkpoint.key, cure="name the base it was tuned from")
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[name])
    if optimizer is not None:
        restore_optimizer(named, optimizer, tensor_files.read_tensors(store.fetch(checkpoint.optimizer)))
    if mean is not None and checkpoint.ema:
        mean.restore(tensor_files.read_tensors(store.fetch(checkpoint.ema)))


def _put_tensors(store: Store, named: Tensors) -> str:
    return tensor_files.store_tensors(
        store, {name: tensor_files.wrap_tensor(tensor) for name, tensor in named.items()}, suffix=tensor_files.STATE
    )
