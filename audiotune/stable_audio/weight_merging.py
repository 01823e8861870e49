"""Merges a base's tensors, the tuned tensors and the adapters into one whole model.

LoRA (Hu et al. 2021): W' = W + s B A. DoRA (Liu et al. 2024): each row of that, an output of the layer, gets the length m that was
learned for it: W' = m (W + s B A) / |W + s B A|.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audiotune.errors import ModelError
from audiotune.store.tensor_files import LazyTensor, wrap_tensor

if TYPE_CHECKING:
    import torch

_A, _B, _MAGNITUDE, _ROWS = ".lora_A", ".lora_B", ".magnitude", ".row_products"
ADAPTER_SUFFIXES = (_A, _B, _MAGNITUDE, _ROWS)


@dataclass(frozen=True)
class LoraWeights:
    """LoRA matrices by layer.

    Attributes:
        pairs: layer -> (A [rank, in], B [out, rank]); of a convolution the trainer's A has [rank, in, width] and B [out, rank, 1].
        scale: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
        magnitudes: layer -> m [out], for DoRA; empty for LoRA.
    """

    pairs: Mapping[str, tuple[LazyTensor, LazyTensor]]
    scale: float
    magnitudes: Mapping[str, LazyTensor] = field(default_factory=dict)

    @classmethod
    def from_tensors(cls, tuned: Mapping[str, LazyTensor], scale: float) -> LoraWeights:
        """The adapters among tuned tensors."""
        layers = [name.removesuffix(_A) for name in tuned if name.endswith(_A)]
        pairs = {layer: (tuned[layer + _A], tuned[layer + _B]) for layer in layers}
        return cls(pairs, scale, {layer: tuned[layer + _MAGNITUDE] for layer in layers if layer + _MAGNITUDE in tuned})

    @property
    def kind(self) -> str:
        return "dora" if self.magnitudes else "lora"

    def merge_layer(self, layer: str, weight: LazyTensor, strength: float = 1.0) -> LazyTensor:
        """A layer's weight with its adapter merged, bit-equal to peft's merge, in the adapter's precision (fp32).

        A DoRA of strength 0 changes nothing, as in stable-audio-tools.
        """
        a = self.pairs[layer][0]
        magnitude = self.magnitudes.get(layer)

        def load() -> torch.Tensor:
            plain = weight.load().to(a.dtype)
            turned = plain + self._multiply(layer).view(plain.shape) * (self.scale * strength)
            if magnitude is None:
                return turned
            if not strength:
                return plain
            rows = turned.flatten(1)
            gains = magnitude.load().flatten().to(a.dtype) / rows.norm(dim=1)
            return (gains[:, None] * rows).view(plain.shape)

        return LazyTensor(a.dtype, weight.shape, load)

    def measure_rows(self, layer: str, weight: LazyTensor) -> LazyTensor:
        """[3, out] float32: |W|^2, <W, s B A> and |s B A|^2 of each row. They tell |W + t s B A| for any strength t without W."""
        import torch

        plain = weight.load().flatten(1).double()
        change = self._multiply(layer).double() * self.scale
        products = torch.stack([(plain * plain).sum(1), (plain * change).sum(1), (change * change).sum(1)])
        return wrap_tensor(products.float())

    def _multiply(self, layer: str) -> torch.Tensor:
        """B A [out, in * width]."""
        a, b = self.pairs[layer]
        return b.load().flatten(1) @ a.load().flatten(1)


def merge_weights(
    base: Mapping[str, LazyTensor], tuned: Mapping[str, LazyTensor], adapters: LoraWeights | None
) -> dict[str, LazyTensor]:
    """All tensors of the tuned model under the base's names.

    Args:
        adapters: merged into their layers; None for none.

    Raises:
        ModelError: a tuned tensor that the base does not have, or of another shape.
    """
    whole = dict(base)
    for name, tensor in tuned.items():
        if name.endswith(ADAPTER_SUFFIXES):
            continue
        if name not in base or base[name].shape != tensor.shape:
            raise ModelError(
                f"the tuned tensor {name!r} does not fit the base", cure="name the base the checkpoint was tuned from"
            )
        whole[name] = tensor
    for layer in adapters.pairs if adapters else ():
        assert adapters is not None
        whole[f"{layer}.weight"] = adapters.merge_layer(layer, _find_weight(base, layer))
    return whole


def collect_adapter_tensors(adapters: LoraWeights, base: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The tensors of an adapter file: `<layer>.lora_A`, `<layer>.lora_B`; of DoRA also `.magnitude` and `.row_products`."""
    tensors: dict[str, LazyTensor] = {}
    for layer, pair in adapters.pairs.items():
        tensors |= {f"{layer}{suffix}": _flatten(tensor) for suffix, tensor in zip((_A, _B), pair)}
        if layer in adapters.magnitudes:
            tensors[layer + _MAGNITUDE] = wrap_tensor(adapters.magnitudes[layer].load().flatten())
            tensors[layer + _ROWS] = adapters.measure_rows(layer, _find_weight(base, layer))
    return tensors


def _find_weight(base: Mapping[str, LazyTensor], layer: str) -> LazyTensor:
    if f"{layer}.weight" not in base:
        raise ModelError(f"an adapter for {layer!r}, which the base does not have", cure="name the base it was tuned from")
    return base[f"{layer}.weight"]


def _flatten(tensor: LazyTensor) -> LazyTensor:
    """A matrix; of a convolution with its widths side by side."""
    if len(tensor.shape) == 2:
        return tensor
    return LazyTensor(tensor.dtype, (tensor.shape[0], math.prod(tensor.shape[1:])), lambda: tensor.load().flatten(1))
