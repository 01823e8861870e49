"""Snake activations in blocks: upstream's values, and upstream's own code wherever a gradient is wanted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audiotune.stable_audio.snake import speed_up_snakes


class SnakeBeta(nn.Module):
    """stable-audio-tools' activation, by its formula."""

    def __init__(self, channels: int, alpha_logscale: bool) -> None:
        super().__init__()
        self.alpha_logscale = alpha_logscale
        self.alpha = nn.Parameter(torch.randn(channels) / 4 + 1)
        self.beta = nn.Parameter(torch.randn(channels) / 4 + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        alpha, beta = (v.exp() if self.alpha_logscale else v for v in (self.alpha[:, None], self.beta[:, None]))
        return x + (1.0 / (beta + 1e-9)) * torch.sin(x * alpha) ** 2


@pytest.mark.parametrize("logscale", [True, False])
@pytest.mark.parametrize("shape", [(1, 3, 50_001), (2, 3, 17), (1, 3, 1), (3, 3, 0)])
def test_values_are_those_of_the_formula(shape: tuple[int, ...], logscale: bool) -> None:
    torch.manual_seed(0)
    snake, x = SnakeBeta(3, logscale), torch.randn(shape)
    with torch.no_grad():
        expected = snake(x)
        speed_up_snakes(snake)
        before = x.clone()
        assert torch.allclose(snake(x), expected, rtol=0, atol=1e-6)
        assert torch.equal(x, before), "its input is still needed: it is added to a later layer's output"
        strided = torch.randn(shape[0], shape[2], 3).transpose(1, 2)
        assert torch.allclose(snake(strided), SnakeBeta.forward(snake, strided), rtol=0, atol=1e-6)


def test_gradients_are_upstreams() -> None:
    torch.manual_seed(0)
    snake, x = SnakeBeta(2, True), torch.randn(1, 2, 9, requires_grad=True)
    (expected,) = torch.autograd.grad(snake(x).sum(), x)
    speed_up_snakes(snake)
    assert torch.equal(torch.autograd.grad(snake(x).sum(), x)[0], expected)
    snake(x.detach()).sum().backward()
    assert snake.alpha.grad is not None
    half = torch.randn(1, 2, 9).bfloat16()
    assert torch.equal(snake(half), SnakeBeta.forward(snake, half))
