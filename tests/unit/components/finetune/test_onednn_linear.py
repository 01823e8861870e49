"""Linear layers by oneDNN: torch's own values and gradients, for all shapes of a training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from components.finetune.onednn_linear import speed_up_linear_layers


def run(layer: nn.Linear, x: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor | None]:
    """Output and gradients of a weighted sum."""
    x = x.clone().requires_grad_()
    layer.zero_grad(set_to_none=True)
    output = layer(x)
    (output * weights).sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("shape", [(5, 16), (2, 7, 16), (1, 1, 16), (2, 3, 5, 16)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], bias: bool, frozen: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 24, bias=bias).requires_grad_(not frozen)
    x, weights = torch.randn(shape), torch.randn(*shape[:-1], 24)
    expected = run(layer, x, weights)
    speed_up_linear_layers(nn.ModuleList([layer]))
    assert "forward" in vars(layer)
    for ours, theirs in zip(run(layer, x, weights), expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_transposed_input_and_other_dtypes_are_right() -> None:
    layer = nn.Linear(16, 24)
    x = torch.randn(3, 16, 9).transpose(1, 2)
    expected = layer(x)
    speed_up_linear_layers(layer)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_layers_of_another_precision_stay_as_they_are() -> None:
    layer = nn.Linear(4, 4).bfloat16()
    speed_up_linear_layers(layer)
    assert "forward" not in vars(layer)
