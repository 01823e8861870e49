"""Measures the loss on held-out rows by noise level, with fixed noise."""

import torch

from audiotune.stable_audio.objective import LOSS_LEVELS, make_loss_levels
from components.finetune.latent_dataset import LatentDataset
from components.finetune.training_batches import BatchDraw, make_generator, split_by_length
from components.finetune.training_model import TrainingModel


def measure_validation_loss(
    tuned: TrainingModel, material: LatentDataset, rows: int, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Mean squared error per latent value of the first `rows` rows: at each noise level (`t_0.1` ...), and over all (`mean`)."""
    chosen = torch.arange(min(rows, len(material.rows)))
    chosen = chosen[torch.argsort(material.frames[chosen], stable=True)]
    random = make_generator(0, "validation", 0)
    noise = torch.randn(len(chosen), material.channels, int(material.frames[chosen].max()), generator=random)
    zeros = torch.zeros(len(chosen))
    draw = BatchDraw(chosen, zeros, zeros, zeros.bool(), noise)
    values = int(material.frames[chosen].sum()) * material.channels
    parts = [(start, min(start + batch_size, len(chosen))) for start in range(0, len(chosen), batch_size)]
    if tuned.padding.least_spared:
        lengths = material.frames[chosen].tolist()
        parts = [tight for start, end in parts for tight in split_by_length(lengths, start, end, tuned.padding.least_spared)]
    losses = {}
    with torch.no_grad():
        for level, t in zip(LOSS_LEVELS, make_loss_levels(material.frames[chosen], tuned.wrapper.dist_shift)):
            errors = [tuned(material.batch_part(draw, t, start, end, device, tuned.patch)).sum() for start, end in parts]
            losses[f"t_{level}"] = float(torch.stack(errors).sum()) / values
    return {**losses, "mean": sum(losses.values()) / len(losses)}
