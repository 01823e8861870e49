"""LoRA adapters stored apart from their base (Hu et al. 2021: W + scale B A): merged into a model, or applied for one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotune.errors import ModelError
from audiotune.stable_audio.weight_merging import LoraWeights
from audiotune.store import tensor_files
from audiotune.store.tensor_files import LazyTensor, wrap_tensor

if TYPE_CHECKING:
    from audiotune.stable_audio.model import StableAudio

_DIFFUSION = "model."  # layers of the diffusion model, as a whole model's state dict names them


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter by the SHA-256 of its file. A batch reads its matrices; requests that wait keep none in memory.

    Attributes:
        fetch: returns the path of the file, as `Store.fetch` does.
    """

    digest: str
    fetch: Callable[[], Path] = field(compare=False, repr=False)


def merge_adapter(model: Any, path: Path, strength: float = 1.0) -> None:
    """Adds an adapter file written by `unwrap` with lora = keep to a model's fp32 weights on the CPU.

    At strength 1 the weights are equal, to the last bit, to those of unwrap with lora = merge.

    Raises:
        ModelError: the file is no adapter, or its layers do not fit this model.
    """
    import torch

    state = model.state_dict()
    with tensor_files.open_tensors(path) as tensors, torch.no_grad():
        adapters = _read_adapters(model, tensors, path, strength)
        for layer in adapters.pairs:
            weight = state[f"{layer}.weight"]
            weight.copy_(adapters.merge_layer(layer, wrap_tensor(weight.clone())).load())


def check_adapter(sa: StableAudio, path: Path) -> None:
    """Raises ModelError when a file is no adapter for this model; reads its header only."""
    with tensor_files.open_tensors(path) as tensors:
        _read_adapters(sa.model, tensors, path)


def sort_adapters(applied: Sequence[tuple[Adapter, float]]) -> tuple[tuple[str, float], ...]:
    """(digest, strength) of each, sorted: the order of the request changes no sum."""
    return tuple(sorted((adapter.digest, strength) for adapter, strength in applied))


def load_adapter_pairs(sa: StableAudio, applied: Sequence[tuple[Adapter, float]]) -> dict[str, tuple[Any, Any]]:
    """Layer of the diffusion model -> (A [ranks, in], B [out, ranks]) of all adapters; the layer then computes W x + B A x.

    B includes strengths and scales. Both have the model's precision and device. Empty without adapters.

    Raises:
        ModelError: see `check_adapter`.
    """
    import torch

    matrices: dict[str, list[tuple[Any, Any]]] = {}
    for adapter, strength in sorted(applied, key=lambda pair: (pair[0].digest, pair[1])):
        path = adapter.fetch()
        with tensor_files.open_tensors(path) as tensors:
            weights = _read_adapters(sa.model, tensors, path, strength)
            for layer, (a, b) in weights.pairs.items():
                matrices.setdefault(layer, []).append((a.load().float(), b.load().float() * weights.scale))
    like = next(sa.model.model.parameters())
    return {
        layer.removeprefix(_DIFFUSION): (
            torch.cat([a for a, _ in pairs]).to(like),
            torch.cat([b for _, b in pairs], dim=1).to(like),
        )
        for layer, pairs in matrices.items()
    }


def _read_adapters(model: Any, tensors: dict[str, LazyTensor], path: Path, strength: float = 1.0) -> LoraWeights:
    """The adapters of a file, each for a linear layer of this model's diffusion part."""
    from torch import nn

    names = sum(name.endswith((".lora_A", ".lora_B")) for name in tensors)
    if not tensors or names != len(tensors) or names != 2 * sum(name.endswith(".lora_A") for name in tensors):
        raise ModelError("not an adapter file", where=str(path), cure="take the file that unwrap with lora = keep wrote")
    adapters = LoraWeights.from_tensors(tensors, strength * _read_scale(path))
    layers = dict(model.named_modules())
    for layer, pair in adapters.pairs.items():
        part = layers.get(layer)
        if not (layer.startswith(_DIFFUSION) and isinstance(part, nn.Linear) and _fits_weight(pair, tuple(part.weight.shape))):
            raise ModelError(
                f"an adapter for {layer!r}, which does not fit this model",
                where=str(path),
                cure="name the base it was tuned from",
            )
    return adapters


def _fits_weight(pair: tuple[LazyTensor, LazyTensor], weight: tuple[int, ...]) -> bool:
    a, b = (tensor.shape for tensor in pair)
    return len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == weight


def _read_scale(path: Path) -> float:
    try:
        scale = float(tensor_files.read_metadata(path)["scale"])
    except (KeyError, ValueError):
        scale = math.nan
    if not math.isfinite(scale):
        raise ModelError("the adapter file does not name its scale", where=str(path), cure="unwrap the checkpoint again")
    return scale
