"""Saves the training state as a checkpoint in the store, and restores it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from audiotune.domain.checkpoint import Checkpoint, prune_checkpoints
from audiotune.errors import ModelError
from audiotune.store import tensor_files
from audiotune.store.port import Store
from components.finetune.optimizer import RunningMean, collect_optimizer_tensors, restore_optimizer


@dataclass
class CheckpointWriter:
    """Writes checkpoints of one run.

    Attributes:
        facts: fields of every checkpoint of the run (run key, base, dataset, recipe, ...).
        keep_last: number of checkpoints to keep.
    """

    store: Store
    facts: Mapping[str, Any]
    keep_last: int
    run: str = field(default="")

    def write_checkpoint(
        self,
        step: int,
        named: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        mean: RunningMean | None,
        scalars: Mapping[str, float],
        history: Mapping[str, list[tuple[int, float]]],
        *,
        final: bool,
        write: bool = True,
    ) -> Checkpoint:
        """Stores blobs, then the JSON with their keys, then deletes older checkpoints. Stores nothing if `write` is false."""
        kept = {"weights": "", "ema": "", "optimizer": ""}
        if write:
            kept["weights"] = _put_tensors(self.store, {name: p.detach() for name, p in named.items()})
            kept["ema"] = _put_tensors(self.store, mean.mean) if mean is not None else ""
            kept["optimizer"] = _put_tensors(self.store, collect_optimizer_tensors(named, optimizer))
        checkpoint = Checkpoint(
            step=step, final=final, scalars=dict(scalars), history=dict(history), run=self.run, **kept, **dict(self.facts)
        )
        if write:
            checkpoint.save(self.store)
            prune_checkpoints(self.store, checkpoint.run_key, self.keep_last)
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


def _put_tensors(store: Store, named: Mapping[str, torch.Tensor]) -> str:
    return tensor_files.store_tensors(
        store, {name: tensor_files.wrap_tensor(tensor) for name, tensor in named.items()}, suffix=tensor_files.STATE
    )
