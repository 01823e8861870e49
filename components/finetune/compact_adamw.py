"""AdamW with small state, which may also train weights in bf16.

What does not fit is rounded up or down at random, so that it is right on average: a step of the moments, or of the weights, is mostly
smaller than what rounding to the nearest keeps, and would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch

from components.finetune.training_batches import derive_seed

State = Literal["fp32", "bf16", "int8"]
BLOCK = 256  # values that share a scale
_EXPONENTS = {"exp_avg": 3, "exp_avg_sq": 4}  # of int8: levels are dense near zero, where most values are
_PARTS = tuple(_EXPONENTS)


class CompactAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2017). A weight's moments take 8 (fp32), 4 (bf16) or 2 bytes (int8, in blocks with one scale).

    Args:
        groups: parameter groups as of torch.optim.AdamW.
        seed: with the number of a parameter's step it decides all rounding, so that a resumed training rounds alike. Each step sets torch's
            own generators by it: they exist on every device.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float], state: State, seed: int, eps: float = 1e-8
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self._kind, self._seed = state, seed

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        place = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                place += 1
                if parameter.grad is not None:
                    self._update(parameter, group, place)
        return closure() if closure is not None else None

    def _update(self, parameter: torch.Tensor, group: dict[str, Any], place: int) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        number = int(state["step"]) + 1 if state else 1
        torch.manual_seed(derive_seed(self._seed, f"rounding of {place}", number))
        gradient = parameter.grad.float()  # type: ignore[union-attr]
        if state:
            mean, square = (self._decode(state, part, parameter.shape) for part in _PARTS)
        else:
            mean, square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        weight = parameter.float() * (1 - group["lr"] * group["weight_decay"])
        scaled = square.div(1 - beta2**number).sqrt_().add_(group["eps"])
        weight.addcdiv_(mean, scaled, value=-group["lr"] / (1 - beta1**number))
        parameter.copy_(weight if parameter.dtype == torch.float32 else round_to_bf16(weight))
        state["step"] = torch.tensor(float(number))
        for part, moment in zip(_PARTS, (mean, square)):
            self._encode(state, part, moment)

    def _encode(self, state: dict[str, Any], part: str, moment: torch.Tensor) -> None:
        if self._kind == "int8":
            state[part], state[f"{part}_scale"] = encode_blocks(moment, _EXPONENTS[part])
        else:
            state[part] = moment if self._kind == "fp32" else round_to_bf16(moment)

    def _decode(self, state: dict[str, Any], part: str, shape: torch.Size) -> torch.Tensor:
        if self._kind == "int8":
            return decode_blocks(state[part], state[f"{part}_scale"], _EXPONENTS[part], shape)
        return torch.as_tensor(state[part]).float()


def round_to_bf16(values: torch.Tensor) -> torch.Tensor:
    """float32 rounded at random to one of the two nearest bf16, with the exact value as the mean."""
    added = torch.randint(0, 1 << 16, values.shape, dtype=torch.int32, device=values.device)
    return (values.contiguous().view(torch.int32) + added).bitwise_and_(-(1 << 16)).view(torch.float32).bfloat16()


def encode_blocks(values: torch.Tensor, exponent: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels and scales of float32 values of any shape.

    A level k of a block stands for (k / 127)^exponent times the block's largest value; squares, which have no sign, use 255 levels. Between
    two levels one is drawn so that the mean is the exact value; a square that is not zero gets one level at least, because it divides.

    Returns:
        int8 (or uint8 for squares) [blocks * 256], float32 [blocks].
    """
    squares = exponent % 2 == 0
    most = 255 if squares else 127
    flat = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scale = flat.abs().amax(dim=1)
    share = flat.abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    low = (share ** (1 / exponent) * most).floor_().clamp_(0, most - 1)
    below, above = (low / most) ** exponent, ((low + 1) / most) ** exponent
    drawn = torch.rand_like(flat)
    level = low + (drawn * (above - below) < share - below)
    if squares:
        return torch.where(flat > 0, level.clamp_(min=1), level).to(torch.uint8).flatten(), scale
    return (level * flat.sign()).to(torch.int8).flatten(), scale


def decode_blocks(levels: torch.Tensor, scale: torch.Tensor, exponent: int, shape: torch.Size) -> torch.Tensor:
    """float32 of a shape."""
    most = 255 if exponent % 2 == 0 else 127
    values = (levels.view(-1, BLOCK).float() / most) ** exponent * scale[:, None]
    return values.flatten()[: shape.numel()].view(shape)
