"""Layers with low-rank matrices beside their weights: W x + B A x, and a factor for each row of W where the adapter is a DoRA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LowRankAddition:
    """What is added to the output of one layer.

    Attributes:
        a: [rank, in], of a convolution [rank, in * width].
        b: [out, rank]; holds strengths and scales.
        gain: [out], a share of the layer's own output without its bias; None for none.
    """

    a: Any
    b: Any
    gain: Any = None

    @property
    def shape(self) -> tuple[int, bool]:
        """What decides with which kernels it is computed."""
        return (len(self.a), self.gain is not None)

    @classmethod
    def joined(cls, additions: Sequence[LowRankAddition], like: Any) -> LowRankAddition:
        """The sum of several, in the precision and on the device of `like`."""
        import torch

        gains = [one.gain for one in additions if one.gain is not None]
        return cls(
            torch.cat([one.a for one in additions]).to(like),
            torch.cat([one.b for one in additions], dim=1).to(like),
            torch.stack(gains).sum(0).to(like) if gains else None,
        )


def add_to_layer(layer: Any, plain: Callable[[Any], Any], addition: LowRankAddition) -> Callable[[Any], Any]:
    """A forward of a linear layer or a convolution with the addition.

    Args:
        plain: the layer's own forward; packed layers have another than their class.
    """
    from torch import nn
    from torch.nn.functional import conv1d, linear

    a, b, gain, bias = addition.a, addition.b, addition.gain, layer.bias
    if not isinstance(layer, nn.Conv1d):

        def multiply(x: Any) -> Any:
            return linear(linear(x, a), b)

    else:
        a, b = a.view(len(a), layer.in_channels, -1), b[:, :, None]
        gain = None if gain is None else gain[:, None]
        bias = None if bias is None else bias[:, None]

        def multiply(x: Any) -> Any:
            return conv1d(conv1d(x, a, None, layer.stride, layer.padding, layer.dilation), b)

    def forward(x: Any) -> Any:
        y = plain(x)
        added = multiply(x)
        if gain is not None:
            added = added + gain * (y if bias is None else y - bias)
        return y + added

    return forward
