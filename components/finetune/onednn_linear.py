"""Linear layers of a training on a CPU by oneDNN, forward and backward.

torch's plain fp32 matrix products are MKL's, which uses only AVX2 on processors that are not Intel's. oneDNN uses AVX-512 if the
processor has it: more than twice as fast there, and these products are three quarters of a step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from audiotune.stable_audio.onednn_layers import has_onednn_linear


def speed_up_linear_layers(module: nn.Module) -> None:
    """Lets all fp32 linear layers of a module on the CPU compute by oneDNN. Does nothing where torch was built without it."""
    if not has_onednn_linear():
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear) or type(layer) is not nn.Linear or "forward" in vars(layer):
            continue
        if layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            vars(layer)["forward"] = _make_forward(layer)


def _make_forward(layer: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            return nn.functional.linear(x, layer.weight, layer.bias)
        result: torch.Tensor = _OneDnnLinear.apply(x, layer.weight, layer.bias)
        return result

    return forward


class _OneDnnLinear(torch.autograd.Function):
    """x W^T + b for x [..., in], W [out, in], b [out] or None."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        rows = gradient.flatten(0, -2)
        return (
            _multiply(gradient, weight.t()) if ctx.needs_input_grad[0] else None,
            _multiply(rows.t(), x.flatten(0, -2).t()) if ctx.needs_input_grad[1] else None,
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _multiply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result
