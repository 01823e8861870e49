"""Linear layers of a frozen model in the memory layout of oneDNN, for serving on CPUs.

torch's plain matrix products are MKL's, which uses only AVX2 on processors that are not Intel's. oneDNN uses AVX-512 if the
processor has it, and packed weights need not be reordered at every call.
"""

from collections.abc import Callable
from typing import Any

from audiotune.stable_audio.model import StableAudio

_ROWS = 256  # the layout is optimal for this number of rows and correct for any


def has_onednn_linear() -> bool:
    """Whether torch was built with oneDNN's linear layers."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack_linear_layers(sa: StableAudio) -> StableAudio:
    """Packs the fp32 linear layers of a model on the CPU, in place. Does nothing on other devices or without oneDNN.

    The plain weights are freed: their shapes stay, their values are NaN. The model can no longer be trained or saved.
    """
    import torch

    if sa.device.type != "cpu" or not has_onednn_linear():
        return sa
    layers = [part for part in sa.model.modules() if _is_plain_linear(part)]
    with torch.no_grad():
        calls = [_pack_layer(layer) for layer in layers]
        for layer, call in zip(layers, calls):
            layer.forward = call
            layer.weight.data = torch.full((1, 1), float("nan")).expand(layer.weight.shape)
    return sa


def _is_plain_linear(part: Any) -> bool:
    """Whether a module is an unmodified fp32 linear layer."""
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
