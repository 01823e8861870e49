"""The training objective on rows by noise level, one row at a time at its true length; words and noise the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audiotune import tensors
from audiotune.dataset import LatentRow
from audiotune.stable_audio.condition import embed
from audiotune.stable_audio.load import StableAudio
from audiotune.store.port import Store

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def loss_by_level(sa: StableAudio, store: Store, rows: Sequence[LatentRow]) -> dict[float, float]:
    """Mean squared error per latent value at each noise level; v-objective (Salimans and Ho 2022) or rectified flow (Liu et al.
    2022) as the model's config says. Empty without rows."""
    import torch

    patch = int(getattr(getattr(sa.model.model, "model", None), "patch_size", 1))
    sums, count = dict.fromkeys(LEVELS, 0.0), 0
    with torch.no_grad():
        for number, row in enumerate(rows):
            x = tensors.read(store.fetch(row.latents))["latents"][None].to(sa.device)
            x = x[..., : x.shape[-1] // patch * patch]
            if not x.numel():
                continue
            conditioning = embed(sa, [row.captions[0]], [row.seconds])
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(number)).to(x)
            for level in LEVELS:
                noised, target = _mixed(sa.objective, x, noise, level)
                found = sa.model(noised, torch.tensor([level], device=x.device), conditioning)
                sums[level] += float(((found - target) ** 2).sum())
            count += x.numel()
    return {level: total / count for level, total in sums.items()} if count else {}


def _mixed(objective: str, x: Any, noise: Any, level: float) -> tuple[Any, Any]:
    """What the model sees at a noise level, and what it should answer."""
    import math

    if objective == "v":
        alpha, sigma = math.cos(level * math.pi / 2), math.sin(level * math.pi / 2)
        return alpha * x + sigma * noise, alpha * noise - sigma * x
    return (1 - level) * x + level * noise, noise - x
