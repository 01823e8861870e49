"""AdamW, its learning rate as a function of the step, and the running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from components.finetune.settings import Settings

_FLOOR = 0.1  # a cosine ends at this share of the peak
NamedParameters = Mapping[str, nn.Parameter]


def make_adamw(named: NamedParameters, settings: Settings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2017), weight decay on matrices only; tables of words learn at a rate of their own.

    Each group carries its `rate`, a factor on the learning rate of the step.

    Fused where it can be: one pass over the weights instead of a dozen, and no copies. Loss scaling for fp16 with gradient
    clipping refuses the fused one.
    """
    words = [p for name, p in named.items() if name.startswith("conditioner.")]
    matrices = [p for name, p in named.items() if p.ndim >= 2 and not name.startswith("conditioner.")]
    rest = [p for name, p in named.items() if p.ndim < 2 and not name.startswith("conditioner.")]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": settings.weight_decay, "rate": 1.0},
        {"params": rest, "weight_decay": 0.0, "rate": 1.0},
        {"params": words, "weight_decay": 0.0, "rate": settings.words_rate},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        fused=settings.precision != "fp16",
    )


def compute_learning_rate(settings: Settings, step: int) -> float:
    """The learning rate of step `step` (from 0)."""
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if settings.schedule == "cosine":
        share = min(1.0, (step - warmup) / max(1, settings.steps - warmup))
        return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))
    if settings.schedule == "inverse":
        return peak * math.sqrt(max(warmup, 1) / max(step, warmup, 1))
    return peak


class RunningMean:
    """Exponential moving average of the weights; its decay warms up, so that early means are not of the first weights."""

    def __init__(self, named: NamedParameters, decay: float) -> None:
        self.decay = decay
        self.mean = {name: p.detach().clone().float() for name, p in named.items()}
        self._learning = [named[name] for name in self.mean]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self._learning], 1 - decay)

    @torch.no_grad()
    def restore(self, mean: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self.mean.items():
            tensor.copy_(mean[name])


def collect_optimizer_tensors(named: NamedParameters, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state by parameter name: `<name>/exp_avg`, `<name>/exp_avg_sq`, `<name>/step`."""
    return {
        f"{name}/{part}": tensor
        for name, p in named.items()
        if p in optimizer.state
        for part, tensor in optimizer.state[p].items()
    }


def restore_optimizer(named: NamedParameters, optimizer: torch.optim.Optimizer, kept: Mapping[str, torch.Tensor]) -> None:
    """Puts a saved state back. Parameters that never had a gradient have none, as before."""
    for key, tensor in kept.items():
        name, _, part = key.rpartition("/")
        parameter = named[name]
        device = tensor.device if part == "step" and not optimizer.defaults.get("fused") else parameter.device
        optimizer.state[parameter][part] = tensor.to(device)
