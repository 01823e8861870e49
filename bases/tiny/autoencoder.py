"""Trains the tiny base's autoencoder by regression on spectral features."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiotune.stable_audio import spectral_features
from bases.tiny.training_sounds import SynthesizedSounds

BATCH, KL_WEIGHT = 32, 2e-4


def compute_loss(target: Tensor, output: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Absolute differences of the features, weighted by their level, and the divergence from a unit normal distribution."""
    want, have = spectral_features.split_features(target), spectral_features.split_features(output)
    weight = ((want.level + 1) / 2).clamp_min(0)  # 0 at the floor, 1 at full scale
    level = ((want.level - have.level).abs() * (0.15 + 2 * weight)).mean()
    noise = ((want.noise - have.noise).abs() * (0.3 + (want.noise + 1) / 2)).mean()
    # The slope at the top of a bell determines the pitch of its partial.
    slope = (want.level.diff(dim=-1) - have.level.diff(dim=-1)).abs() * weight[..., 1:].square()
    loudness = (want.loudness - have.loudness).abs().mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean()
    return 2 * level + 0.6 * noise + 4 * slope.mean() + 0.7 * loudness + KL_WEIGHT * kl


def train_autoencoder(
    pretransform: Any,
    material: dict[int, SynthesizedSounds],
    steps: int,
    seed: int,
    save: Callable[[], None],
    log: Path,
    lr: float = 1.2e-3,
) -> None:
    """Trains for `steps` steps; calls `save` every 500 steps and at the end."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    squeeze = pretransform.squeeze.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(squeeze.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05, final_div_factor=50)
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        target = _draw_batch(material, rng)
        mean, log_variance = squeeze.posterior(target)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = compute_loss(target, squeeze.features(drawn), mean, log_variance)
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_(squeeze.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(error.detach())
        if step % 50 == 0:
            with log.open("a") as out:
                out.write(f"autoencoder step {step} loss {total / 50:.4f} {(time.monotonic() - started) / step:.2f} s a step\n")
            total = 0.0
        if step % 500 == 0 or step == steps:
            measure_latent_scale(pretransform, material)
            save()
    squeeze.eval()


def measure_latent_scale(pretransform: Any, material: dict[int, SynthesizedSounds]) -> None:
    """Sets mean and spread of each latent channel, so that latents have mean 0 and standard deviation 1."""
    with torch.no_grad():
        means = [pretransform.squeeze.posterior(_to_tensor(m.features[:64]))[0].flatten(0, 1) for m in material.values()]
    latents = torch.cat(means)
    pretransform.centre.copy_(latents.mean(dim=0))
    pretransform.spread.copy_(latents.std(dim=0).clamp_min(0.05))


def _draw_batch(material: dict[int, SynthesizedSounds], rng: np.random.Generator) -> Tensor:
    """Random sounds of one length; fewer if they are long, so that each step takes the same time."""
    length = int(rng.choice(list(material)))
    features = material[length].features
    count = max(8, BATCH * 32 // length)
    return _to_tensor(features[np.sort(rng.integers(0, len(features), count))])


def _to_tensor(features: Any) -> Tensor:
    return torch.from_numpy(np.asarray(features, dtype=np.float32))
