"""Linear layers of a frozen model in oneDNN's own layout: the same sums as torch's, with the widest registers of the processor.

torch's plain matrix products are MKL's, which keeps to AVX2 on processors that are not Intel's. oneDNN takes AVX-512 where there is any,
and weights that lie as its kernels read them need not be laid out at every call. For serving on CPUs, where weights never change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audiotune.stable_audio.model import StableAudio

_ROWS = 256  # rows that the layout is chosen for; others are right as well


def pack_linear_layers(sa: StableAudio) -> StableAudio:
    """Packs the fp32 linear layers of a model on the CPU, in place; elsewhere, or where torch has no oneDNN, nothing happens.

    The plain weights are let go, so that no memory is spent twice: their shapes stay, their values are NaN. Nothing may be trained
    or saved from this model any more.
    """
    import torch

    if sa.device.type != "cpu" or not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return sa
    layers = [part for part in sa.model.modules() if _is_plain_linear(part)]
    with torch.no_grad():
        calls = [_pack_layer(layer) for layer in layers]
        for layer, call in zip(layers, calls):
            layer.forward = call
            layer.weight.data = torch.full((1, 1), float("nan")).expand(layer.weight.shape)
    return sa


def _is_plain_linear(part: Any) -> bool:
    """A linear layer whose output is what its own weight and bias say."""
    import torch
    from torch import nn

    hooks = part._forward_pre_hooks or part._forward_hooks
    plain = type(part) is nn.Linear and not hooks and set(part._parameters) == {"weight", "bias"}
    return plain and part.weight.dtype == torch.float32


def _pack_layer(layer: Any) -> Callable[[Any], Any]:
    import torch

    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
    bias = None if layer.bias is None else layer.bias.detach()

    def forward(x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    return forward
