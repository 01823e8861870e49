"""Merges a base's tensors, the tuned tensors and the adapters into one whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiotune.errors import ModelError
from audiotune.store.tensor_files import LazyTensor

if TYPE_CHECKING:
    import torch

_A, _B = ".lora_A", ".lora_B"


@dataclass(frozen=True)
class LoraWeights:
    """LoRA matrices by layer.

    Attributes:
        pairs: layer -> (A [rank, in], B [out, rank]).
        scale: alpha / rank.
    """

    pairs: Mapping[str, tuple[LazyTensor, LazyTensor]]
    scale: float

    @classmethod
    def from_tensors(cls, tuned: Mapping[str, LazyTensor], scale: float) -> LoraWeights:
        """The adapters among tuned tensors."""
        layers = [name.removesuffix(_A) for name in tuned if name.endswith(_A)]
        return cls({layer: (tuned[layer + _A], tuned[layer + _B]) for layer in layers}, scale)

    def merge_layer(self, layer: str, weight: LazyTensor) -> LazyTensor:
        """A layer's weight with its adapter merged: W + scale (B A), bit-equal to peft's merge, in the adapter's precision (fp32)."""
        a, b = self.pairs[layer]

        def load() -> torch.Tensor:
            return weight.load().to(a.dtype) + (b.load() @ a.load()) * self.scale

        return LazyTensor(a.dtype, weight.shape, load)


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
        if name.endswith((_A, _B)):
            continue
        if name not in base or base[name].shape != tensor.shape:
            raise ModelError(
                f"the tuned tensor {name!r} does not fit the base", cure="name the base the checkpoint was tuned from"
            )
        whole[name] = tensor
    for layer in adapters.pairs if adapters else ():
        if f"{layer}.weight" not in base:
            raise ModelError(f"an adapter for {layer!r}, which the base does not have", cure="name the base it was tuned from")
        assert adapters is not None
        whole[f"{layer}.weight"] = adapters.merge_layer(layer, base[f"{layer}.weight"])
    return whole


def collect_adapter_tensors(adapters: LoraWeights) -> dict[str, LazyTensor]:
    """The tensors of an adapter file: `<layer>.lora_A` and `<layer>.lora_B`."""
    return {f"{layer}{suffix}": tensor for layer, pair in adapters.pairs.items() for suffix, tensor in zip((_A, _B), pair)}
