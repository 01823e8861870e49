"""The training objective on rows by noise level, one row at a time at its true length; words and noise the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from audiotune.domain.dataset import LatentRow
from audiotune.stable_audio.conditioning import embed_prompts
from audiotune.stable_audio.load import StableAudio
from audiotune.store import tensor_files
from audiotune.store.port import Store

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
Losses = dict[float, float]  # noise level -> mean squared error per latent value


def measure_loss_by_level(sa: StableAudio, store: Store, rows: Sequence[LatentRow]) -> Losses:
    """Mean squared error per latent value at each noise level; empty without rows.

    v-objective (Salimans and Ho 2022) or rectified flow (Liu et al. 2022), as the model's config says.
    """
    import torch

    patch = int(getattr(getattr(sa.model.model, "model", None), "patch_size", 1))
    sums, count = dict.fromkeys(LEVELS, 0.0), 0
    with torch.no_grad():
        for number, row in enumerate(rows):
            x = tensor_files.read_tensors(store.fetch(row.latents))["latents"][None].to(sa.device)
            x = x[..., : x.shape[-1] // patch * patch]
            if not x.numel():
                continue
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(number)).to(x)
            for level, error in _sum_squared_errors(sa, x, noise, row).items():
                sums[level] += error
            count += x.numel()
    return {level: total / count for level, total in sums.items()} if count else {}


def _sum_squared_errors(sa: StableAudio, x: Any, noise: Any, row: LatentRow) -> Losses:
    """Sum of squared errors of one row at each level; all levels go through the model as one batch."""
    import torch

    levels = torch.tensor(LEVELS, device=x.device, dtype=x.dtype)
    at = levels[:, None, None]
    if sa.objective == "v":
        alpha, sigma = torch.cos(at * math.pi / 2), torch.sin(at * math.pi / 2)
        mixed, target = alpha * x + sigma * noise, alpha * noise - sigma * x
    else:
        mixed, target = (1 - at) * x + at * noise, (noise - x).expand(len(LEVELS), -1, -1)
    conditioning = embed_prompts(sa, [row.captions[0]] * len(LEVELS), [row.seconds] * len(LEVELS))
    dtype = next(sa.model.model.parameters()).dtype
    found = sa.model(mixed.to(dtype), levels.to(dtype), conditioning).float()
    return dict(zip(LEVELS, ((found - target) ** 2).sum(dim=(1, 2)).tolist(), strict=True))


def average_loss(losses: Losses) -> float:
    """Over all noise levels."""
    return sum(losses.values()) / len(losses)
