"""AdamW, its learning rate as a function of the step, and the running mean of the weights."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from components.finetune.compact_adamw import CompactAdamW
from components.finetune.settings import Settings

_FLOOR = 0.1  # a cosine ends at this share of the peak
NamedParameters = Mapping[str, nn.Parameter]


def make_adamw(named: NamedParameters, settings: Settings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2017) with weight decay on matrices only, and another learning rate for tables of words.

    Each group has a `rate`, a factor of the learning rate. The fused version is faster; fp16 loss scaling with gradient clipping
    does not support it. With small state, or weights in bf16, it is our `CompactAdamW`.
    """
    words = [p for name, p in named.items() if name.startswith("conditioner.")]
    others = [p for name, p in named.items() if not name.startswith("conditioner.")]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": settings.weight_decay, "rate": 1.0},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0, "rate": 1.0},
        {"params": words, "weight_decay": 0.0, "rate": settings.words_rate},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (0.9, settings.beta2)
    if settings.optimizer_state != "fp32" or any(p.dtype != torch.float32 for p in named.values()):
        return CompactAdamW(groups, settings.learning_rate, betas, settings.optimizer_state, settings.seed)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=settings.precision != "fp16")


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
    """Exponential moving average of the weights. Its decay increases from 0.1, so that the initial weights soon vanish from it."""

    def __init__(self, named: NamedParameters, decay: float) -> None:
        self.decay = decay
        self.mean = {name: p.detach().clone().float() for name, p in named.items()}
        self._learning = [named[name] for name in self.mean]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Adds the weights after step `step` (from 0) to the mean."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), [p.detach().float() for p in self._learning], 1 - decay)

    @contextlib.contextmanager
    def lend_to_model(self) -> Iterator[None]:
        """Within the block the model has the mean as its weights; it must not be trained there. Takes no memory in fp32."""
        weights = [parameter.data for parameter in self._learning]
        for parameter, mean in zip(self._learning, self.mean.values()):
            parameter.data = mean.to(parameter.dtype)
        try:
            yield
        finally:
            for parameter, weight in zip(self._learning, weights):
                parameter.data = weight

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
    """Restores a saved state. Parameters that never had a gradient have none."""
    for key, tensor in kept.items():
        name, _, part = key.rpartition("/")
        parameter = named[name]
        device = tensor.device if part == "step" and not optimizer.defaults.get("fused") else parameter.device
        optimizer.state[parameter][part] = tensor.to(device)
