"""The training objective: noise levels, noised latents, targets and loss of the v objective and of rectified flow.

v: Salimans and Ho 2022, alpha = cos(t pi/2), sigma = sin(t pi/2), target = alpha noise - sigma latents. Rectified flow: Liu et
al. 2022, alpha = 1 - t, sigma = t, target = noise - latents. Both as stable-audio-tools' samplers expect them. Training,
validation, evaluation and sampling use this module. It imports torch only inside functions: the service reads settings without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from audiotune.errors import ModelError

if TYPE_CHECKING:
    import torch

DISTILLED = "rf_denoiser"  # rectified flow, distilled to a few steps
OBJECTIVES = ("v", "rectified_flow", DISTILLED)
LOSS_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # noise levels at which validation and evaluation measure the loss
LEAST_SIGMA = 0.02  # that the v objective starts from an init sound at


def is_rectified_flow(objective: str) -> bool:
    """True for rectified flow, False for v. Raises ModelError for any other objective."""
    if objective not in OBJECTIVES:
        cure = f"use a base whose model_config.json has diffusion_objective {', '.join(OBJECTIVES[:-1])} or {OBJECTIVES[-1]}"
        raise ModelError(f"the objective {objective!r} is not known", where="diffusion_objective", cure=cure)
    return objective != "v"


def map_to_noise_levels(kind: str, uniform: torch.Tensor, options: Mapping[str, float] | None = None) -> torch.Tensor:
    """Noise levels t in (0, 1) from uniform draws, by the inverse of each distribution's cumulative function.

    Args:
        kind: uniform, logit_normal, trunc_logit_normal (Stable Audio Open small) or log_snr.
        uniform: float32 [batch] in (0, 1).
        options: `mean_logsnr` and `std_logsnr` for log_snr (defaults -1.2 and 2.0).

    Raises:
        ModelError: no such distribution.
    """
    import torch

    options = options or {}
    normal = torch.distributions.Normal(0.0, 1.0)
    if kind == "uniform":
        return uniform
    if kind == "logit_normal":
        return torch.sigmoid(normal.icdf(uniform))
    if kind == "trunc_logit_normal":
        low = 0.075  # the share that upstream cuts off at the noisy end
        cut = normal.cdf(torch.logit(torch.tensor(low)))
        return 1 - (torch.sigmoid(normal.icdf(cut + (1 - cut) * uniform)) - low) / (1 - low)
    if kind == "log_snr":
        drawn = normal.icdf(uniform) * options.get("std_logsnr", 2.0) + options.get("mean_logsnr", -1.2)
        return torch.sigmoid(-drawn).clamp(1e-4, 1 - 1e-4)
    raise ModelError(f"no distribution of noise levels {kind!r}", cure="set timesteps to a value that --help names")


def shift_noise_levels(t: torch.Tensor, frames: torch.Tensor, shift: Any) -> torch.Tensor:
    """Noise levels [rows] of training, shifted by the length of each sound [rows] if the base has `distribution_shift_options`."""
    shifted: torch.Tensor = t if shift is None else shift.shift(t, frames.to(t.device))
    return shifted


def make_loss_levels(frames: torch.Tensor, shift: Any) -> torch.Tensor:
    """The noise levels of LOSS_LEVELS for sounds of these lengths [rows], shifted as in training: float32 [levels, rows]."""
    import torch

    return torch.stack([shift_noise_levels(torch.full((len(frames),), level), frames, shift) for level in LOSS_LEVELS])


def add_noise(objective: str, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Model input and target of latents and noise, all [batch, channels, frames], at noise levels t [batch]."""
    import torch

    if is_rectified_flow(objective):
        level = t[:, None, None]
        return latents * (1 - level) + noise * level, noise - latents
    alpha, sigma = torch.cos(t * math.pi / 2)[:, None, None], torch.sin(t * math.pi / 2)[:, None, None]
    return latents * alpha + noise * sigma, noise * alpha - latents * sigma


def sum_squared_errors(output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of squared errors of each row in float32, [batch]; only where `mask` (bool [batch, frames]) is true, if given."""
    error = (output.float() - target.float()).square()
    return (error if mask is None else error * mask[:, None, :]).sum(dim=(1, 2))


def strength_to_sigma(strength: float, sigma_max: float) -> float:
    """The v objective's sigma = tan(t pi/2) at which sampling starts from an init sound; strength 1 replaces the whole sound."""
    return sigma_max if strength >= 1 else min(sigma_max, max(LEAST_SIGMA, math.tan(strength * math.pi / 2)))
