"""What the model is asked for: noise levels, noised latents and targets of the v objective and of rectified flow.

v: Salimans and Ho 2022, alpha = cos(t pi/2), sigma = sin(t pi/2), target = alpha noise - sigma latents. Rectified flow: Liu et
al. 2022, alpha = 1 - t, sigma = t, target = noise - latents. Both as stable-audio-tools' sampler expects them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from audiotune.errors import ModelError

_FLOWS = ("rectified_flow", "rf_denoiser")


def map_to_noise_levels(kind: str, uniform: torch.Tensor, options: Mapping[str, float] | None = None) -> torch.Tensor:
    """Noise levels t in (0, 1) from uniform draws, by the inverse of each distribution's cumulative function.

    Args:
        kind: uniform, logit_normal, trunc_logit_normal (Stable Audio Open small) or log_snr.
        uniform: float32 [batch] in (0, 1).
        options: `mean_logsnr` and `std_logsnr` for log_snr (defaults -1.2 and 2.0).
    """
    options = options or {}
    normal = torch.distributions.Normal(0.0, 1.0)
    if kind == "uniform":
        return uniform
    if kind == "logit_normal":
        return torch.sigmoid(normal.icdf(uniform))
    if kind == "trunc_logit_normal":
        low = 0.075  # the share upstream cuts off at the noisy end
        cut = normal.cdf(torch.logit(torch.tensor(low)))
        return 1 - (torch.sigmoid(normal.icdf(cut + (1 - cut) * uniform)) - low) / (1 - low)
    if kind == "log_snr":
        drawn = normal.icdf(uniform) * options.get("std_logsnr", 2.0) + options.get("mean_logsnr", -1.2)
        return torch.sigmoid(-drawn).clamp(1e-4, 1 - 1e-4)
    raise ModelError(f"no distribution of noise levels {kind!r}", cure="set the knob timesteps to one that --help names")


def shift_noise_levels(t: torch.Tensor, frames: torch.Tensor, shift: Any) -> torch.Tensor:
    """Noise levels shifted by each sound's own length, where the base's config asks for it (`distribution_shift_options`)."""
    if shift is None:
        return t
    return torch.stack([shift.time_shift(level, int(length)) for level, length in zip(t, frames)])


def add_noise(objective: str, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Model input and target, both [batch, channels, frames].

    Raises:
        ModelError: an objective that is neither v nor rectified flow.
    """
    if objective == "v":
        alpha, sigma = torch.cos(t * math.pi / 2)[:, None, None], torch.sin(t * math.pi / 2)[:, None, None]
        return latents * alpha + noise * sigma, noise * alpha - latents * sigma
    if objective in _FLOWS:
        level = t[:, None, None]
        return latents * (1 - level) + noise * level, noise - latents
    raise ModelError(f"no objective {objective!r}", cure="take a base trained with v or rectified_flow")


def sum_squared_errors(output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum of squared errors per row in float32, [batch]; only where `mask` (bool [batch, frames]) holds."""
    error = (output.float() - target.float()).square() * mask[:, None, :]
    return error.sum(dim=(1, 2))
