"""Counts what a training takes of a GPU before it runs: its own code, for one batch, on a GPU that is not there.

What is counted are the storages that live. An allocator takes some more for its blocks, and the driver about half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiotune.domain.dataset import LatentRow
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.conditioning import Conditioning
from audiotune.stable_audio.fake_gpu import imitate_gpu
from audiotune.stable_audio.fake_model import build_fake_model
from audiotune.stable_audio.load import TINY_BASE
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.storage_count import StorageCount
from components.finetune.compute_backends import ComputeBackend, make_imitated_backend
from components.finetune.demos import generate_demos
from components.finetune.latent_dataset import LatentDataset
from components.finetune.optimizer import collect_optimizer_tensors
from components.finetune.settings import Settings
from components.finetune.trainer import Trainer
from components.finetune.training_log import TrainingLog, UntrackedRun
from components.finetune.training_model import TrainingModel
from components.finetune.training_state import StateSnapshot


@dataclass(frozen=True)
class TrainingCount:
    """Bytes of a training on one GPU, by phase, and what a step computes.

    Attributes:
        weights: of diffusion model and conditioners, trained or not.
        optimizer: its state.
        mean: the running mean of the weights.
        moment: what a step holds besides at its fullest: activations and gradients.
        step_peak: the sum of these.
        demos_peak: while demos are made: autoencoder and text encoder are there then, gradients and activations are not.
        checkpoint: on disk.
        step_flops: floating point operations of a step.
    """

    weights: int
    optimizer: int
    mean: int
    moment: int
    step_peak: int
    demos_peak: int
    checkpoint: int
    trained_parameters: int
    step_flops: float

    @property
    def peak(self) -> int:
        return max(self.step_peak, self.demos_peak)


class _ShapeDataset(LatentDataset):
    """Rows without content."""

    def __init__(self, rows: list[LatentRow], sa: StableAudio, *, cached_words: bool) -> None:
        super().__init__(rows, store=None, cached_words=cached_words)  # type: ignore[arg-type]  # it is never asked
        self._channels, self._words = sa.latent_channels, self._describe_words(sa) if cached_words else {}

    def _read_latents(self, row: LatentRow) -> torch.Tensor:
        return torch.zeros(self._channels, row.latent_frames)

    def _read_embedding(self, key: str) -> Conditioning:
        return dict(self._words)

    @staticmethod
    def _describe_words(sa: StableAudio) -> Conditioning:
        from audiotune.stable_audio.text_embeddings import find_word_conditioners

        found = {}
        for name in find_word_conditioners(sa.config):
            embedding, mask = sa.model.conditioner.conditioners[name]([""], sa.device)
            found[name] = [torch.zeros(embedding.shape), torch.ones(mask.shape, dtype=torch.bool)]
        return found


def count_training(config: Mapping[str, Any], settings: Settings, seconds: float, folder: Path = TINY_BASE) -> TrainingCount:
    """Counts a batch whose sounds all last `seconds`, the longest of the dataset.

    Args:
        config: the base's.
        folder: where the tokenizers of tables of words are.

    Raises:
        ModelError: the config cannot be built.
    """
    with imitate_gpu():
        sa = build_fake_model(config, folder)
        with StorageCount("cuda") as count:
            trainer = make_counted_trainer(sa, settings, seconds)
            count.add_tensors(*trainer.model.parameters(), *trainer.model.buffers())
            for step in range(2):  # the optimizer's state comes with the first
                count.reset_peak()
                trainer._train_step(step)
            step_peak = count.peak_bytes
            demos_peak = _count_demos(sa, trainer, count, seconds) if settings.demos else 0
        return _describe(trainer, step_peak, demos_peak)


def make_counted_trainer(
    sa: StableAudio,
    settings: Settings,
    seconds: float,
    make_backend: Callable[[Settings], ComputeBackend] = make_imitated_backend,
) -> Trainer:
    """A trainer of one process with rows that hold nothing, all as long."""
    per_device = -(-settings.batch_size // (settings.devices * settings.nodes))
    own = settings.model_copy(update={"batch_size": per_device, "devices": 1, "nodes": 1, "device": "cuda"})
    model = TrainingModel(sa, own)
    frames = -(-round(seconds * sa.sample_rate_hz) // sa.downsampling_ratio)
    rows = [_make_row(place, frames, seconds) for place in range(per_device)]
    data = _ShapeDataset(rows, sa, cached_words=not model.learns_words)
    log = TrainingLog(own, ignore_progress, UntrackedRun())
    nothing: Any = None  # neither checkpoints nor questions of consent belong to a step
    return Trainer(own, make_backend(own), model, data, None, nothing, log, nothing)


def _make_row(place: int, frames: int, seconds: float) -> LatentRow:
    digest = f"{place:064x}"
    return LatentRow(
        segment=digest,
        recording=digest,
        split="train",
        latents=digest,
        latent_frames=frames,
        seconds=seconds,
        captions=(f"sound {place}",),
        embeddings=(digest,),
    )


def _count_demos(sa: StableAudio, trainer: Trainer, count: StorageCount, seconds: float) -> int:
    trainer.optimizer.zero_grad(set_to_none=True)
    count.add_tensors(*sa.model.parameters(), *sa.model.buffers(), *_list_hidden_weights(sa))
    count.reset_peak()
    quick = trainer.settings.model_copy(update={"demo_steps": 3})
    with trainer._generation_mode():
        generate_demos(sa, [_make_row(place, 1, seconds) for place in range(quick.demos)], quick)
    return count.peak_bytes


def _list_hidden_weights(sa: StableAudio) -> list[torch.Tensor]:
    """Of text encoders, which are outside the tree of modules."""
    conditioners = getattr(sa.model.conditioner, "conditioners", {}).values()
    return [weights for part in conditioners if isinstance(weights := vars(part).get("weights"), torch.Tensor)]


def _describe(trainer: Trainer, step_peak: int, demos_peak: int) -> TrainingCount:
    state = collect_optimizer_tensors(trainer.named, trainer.optimizer)
    mean = trainer.mean.mean if trainer.mean is not None else None
    snapshot = StateSnapshot(0, {name: p.detach() for name, p in trainer.named.items()}, state, mean)
    weights = sum(x.nbytes for x in (*trainer.model.parameters(), *trainer.model.buffers()))
    optimizer, kept = sum(x.nbytes for x in state.values()), sum(x.nbytes for x in (mean or {}).values())
    return TrainingCount(
        weights=weights,
        optimizer=optimizer,
        mean=kept,
        moment=step_peak - weights - optimizer - kept,
        step_peak=step_peak,
        demos_peak=demos_peak,
        checkpoint=snapshot.size_bytes,
        trained_parameters=sum(p.numel() for p in trainer.named.values()),
        step_flops=_count_flops(trainer),
    )


def _count_flops(trainer: Trainer) -> float:
    """Of the linear layers: forward, again where activations are computed twice, gradients of activations, and of trained weights."""
    settings, tokens = trainer.settings, int(trainer.train.frames.sum()) // trainer.model.patch
    matrices = sum(layer.weight.numel() for layer in trainer.model.modules() if isinstance(layer, nn.Linear))
    passes = 2 + settings.activation_checkpointing + (settings.mode == "full")
    return 2.0 * matrices * tokens * passes


def count_decoding(config: Mapping[str, Any], seconds: float, folder: Path = TINY_BASE) -> int:
    """Bytes at the fullest moment of decoding a sound, with the autoencoder's weights and without the rest of the model."""
    from audiotune.stable_audio.autoencoder import decode_latents

    with imitate_gpu():
        sa = build_fake_model(config, folder)
        frames = -(-round(seconds * sa.sample_rate_hz) // sa.downsampling_ratio)
        latents = torch.zeros(sa.latent_channels, frames).numpy()
        with StorageCount("cuda") as count:
            count.add_tensors(*sa.model.pretransform.parameters(), *sa.model.pretransform.buffers())
            decode_latents(sa, latents)
        return count.peak_bytes
