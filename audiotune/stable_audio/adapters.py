"""Adapters stored apart from their base: merged into a model, or applied for one batch.

A file has the matrices of LoRA (Hu et al. 2021: W + s B A) by layer, or of DoRA (Liu et al. 2024), which also scales the rows of a
layer. In a batch a layer then computes its own output, the product with the matrices, and a factor for each row.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotune.domain.foreign_origin import ORIGIN, ForeignOrigin
from audiotune.errors import ModelError
from audiotune.stable_audio.low_rank_layers import LowRankAddition, add_to_layer
from audiotune.stable_audio.weight_merging import ADAPTER_SUFFIXES, LoraWeights
from audiotune.store import tensor_files
from audiotune.store.tensor_files import LazyTensor, wrap_tensor

if TYPE_CHECKING:
    from audiotune.stable_audio.model import StableAudio

_DIFFUSION, _CONDITIONER = "model.", "conditioner."  # parts that adapters are for, as a whole model's state dict names them


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter by the SHA-256 of its file. A batch reads its matrices; requests that wait keep none in memory.

    Attributes:
        fetch: returns the path of the file, as `Store.fetch` does.
        adds_up: a half and another half are the whole, so that a model that holds it can be turned down. Not so for DoRA.
    """

    digest: str
    fetch: Callable[[], Path] = field(compare=False, repr=False)
    adds_up: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class BatchAdapters:
    """What the adapters of one batch add, by layer of the diffusion model and of the conditioner."""

    diffusion: Mapping[str, LowRankAddition] = field(default_factory=dict)
    conditioner: Mapping[str, LowRankAddition] = field(default_factory=dict)

    @contextlib.contextmanager
    def applied_to_conditioner(self, sa: StableAudio) -> Iterator[None]:
        """Within the block the conditioner computes with the adapters. Not for two threads on one model at a time."""
        layers = {sa.model.conditioner.get_submodule(name): addition for name, addition in self.conditioner.items()}
        before = {layer: vars(layer)["forward"] for layer in layers if "forward" in vars(layer)}  # of packed layers
        for layer, addition in layers.items():
            layer.forward = add_to_layer(layer, layer.forward, addition)
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward
            for layer, forward in before.items():
                layer.forward = forward


def merge_adapter(model: Any, path: Path, strength: float = 1.0) -> None:
    """Adds an adapter file written by `unwrap` with lora = keep to a model's fp32 weights on the CPU.

    At strength 1 the weights are equal, to the last bit, to those of unwrap with lora = merge.

    Raises:
        ModelError: the file is no adapter, or its layers do not fit this model.
    """
    import torch

    state = model.state_dict()
    with tensor_files.open_tensors(path) as tensors, torch.no_grad():
        adapters = _read_adapters(model, tensors, path)
        for layer in adapters.pairs:
            weight = state[f"{layer}.weight"]
            weight.copy_(adapters.merge_layer(layer, wrap_tensor(weight.clone()), strength).load())


def check_adapter(sa: StableAudio, path: Path) -> None:
    """Raises ModelError when a file is no adapter for this model; reads its header only."""
    with tensor_files.open_tensors(path) as tensors:
        _read_adapters(sa.model, tensors, path)


def open_adapter(digest: str, fetch: Callable[[], Path]) -> Adapter:
    """The adapter of a file; reads its header. Raises ModelError: a damaged file."""
    with tensor_files.open_tensors(fetch()) as tensors:
        return Adapter(digest, fetch, adds_up=not any(name.endswith(".magnitude") for name in tensors))


def read_adapter(path: Path) -> LoraWeights:
    """The matrices of an adapter's file, in memory. Raises ModelError: not an adapter."""
    tensors = {name: wrap_tensor(tensor) for name, tensor in tensor_files.read_tensors(path).items()}
    _require_adapter(tensors, path)
    return LoraWeights.from_tensors(tensors, _read_scale(path))


def describe_adapter(scale: float, origin: ForeignOrigin | None = None) -> dict[str, str]:
    """The metadata of an adapter's file."""
    return {"scale": str(scale), **({ORIGIN: origin.model_dump_json()} if origin else {})}


def sort_adapters(applied: Sequence[tuple[Adapter, float]]) -> tuple[tuple[str, float], ...]:
    """(digest, strength) of each, sorted: the order of the request changes no sum."""
    return tuple(sorted((adapter.digest, strength) for adapter, strength in applied))


def load_adapters(sa: StableAudio, applied: Sequence[tuple[Adapter, float]]) -> BatchAdapters:
    """What adapters add to the layers of a model, in its precision and on its device. Empty without adapters.

    Each adds the difference that it makes alone: their order changes nothing.

    Raises:
        ModelError: see `check_adapter`.
    """
    changes: dict[str, list[LowRankAddition]] = {}
    for adapter, strength in sorted(applied, key=lambda pair: (pair[0].digest, pair[1])):
        if not strength:
            continue
        path = adapter.fetch()
        with tensor_files.open_tensors(path) as tensors:
            weights = _read_adapters(sa.model, tensors, path)
            for layer in weights.pairs:
                changes.setdefault(layer, []).append(_read_addition(weights, tensors, layer, strength))
    parts: dict[str, dict[str, LowRankAddition]] = {_DIFFUSION: {}, _CONDITIONER: {}}
    for layer, additions in changes.items():
        part = _DIFFUSION if layer.startswith(_DIFFUSION) else _CONDITIONER
        like = next(getattr(sa.model, part.rstrip(".")).parameters())
        parts[part][layer.removeprefix(part)] = LowRankAddition.joined(additions, like)
    return BatchAdapters(parts[_DIFFUSION], parts[_CONDITIONER])


def _read_addition(weights: LoraWeights, tensors: Mapping[str, LazyTensor], layer: str, strength: float) -> LowRankAddition:
    """The difference that one adapter makes to a layer: s B A, and for DoRA (c - 1) W + c s B A with c = m / |W + s B A|."""
    import torch

    a, b = (tensor.load().float() for tensor in weights.pairs[layer])
    b = b * (weights.scale * strength)
    if layer not in weights.magnitudes:
        return LowRankAddition(a, b)
    own, both, change = tensors[f"{layer}.row_products"].load().double()
    lengths = (own + 2 * strength * both + strength**2 * change).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    factors = (weights.magnitudes[layer].load().double() / lengths).float()
    return LowRankAddition(a, b * factors[:, None], factors - 1)


def _read_adapters(model: Any, tensors: Mapping[str, LazyTensor], path: Path) -> LoraWeights:
    """The adapters of a file, each for a linear layer or a convolution of this model's diffusion part or conditioner."""
    _require_adapter(tensors, path)
    adapters = LoraWeights.from_tensors(tensors, _read_scale(path))
    layers = dict(model.named_modules())
    for layer in adapters.pairs:
        if not (layer.startswith((_DIFFUSION, _CONDITIONER)) and _fits_layer(layers.get(layer), adapters, tensors, layer)):
            raise ModelError(
                f"an adapter for {layer!r}, which does not fit this model",
                where=str(path),
                cure="name the base it was tuned from",
            )
    return adapters


def _require_adapter(tensors: Mapping[str, LazyTensor], path: Path) -> None:
    if not is_adapter_file(tensors):
        cure = "take the file that unwrap with lora = keep wrote, or bring another program's in with `audiotune adapter import`"
        raise ModelError("not an adapter file", where=str(path), cure=cure)


def is_adapter_file(tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether these are the tensors of an adapter: for each layer A and B, and for DoRA two more."""
    layers = {name.rpartition(".")[0] for name in tensors}
    whole = {f"{layer}{suffix}" for layer in layers for suffix in ADAPTER_SUFFIXES[:2]}
    dora = {f"{layer}{suffix}" for layer in layers for suffix in ADAPTER_SUFFIXES if f"{layer}.magnitude" in tensors}
    return bool(tensors) and whole | dora == set(tensors)


def _fits_layer(part: Any, adapters: LoraWeights, tensors: Mapping[str, LazyTensor], layer: str) -> bool:
    from torch import nn

    if not (isinstance(part, nn.Linear) or (isinstance(part, nn.Conv1d) and part.groups == 1)):
        return False
    a, b = (tensor.shape for tensor in adapters.pairs[layer])
    rows, *columns = part.weight.shape
    fits = len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == (rows, math.prod(columns))
    magnitude = adapters.magnitudes.get(layer)
    return fits and (magnitude is None or (magnitude.shape, tensors[f"{layer}.row_products"].shape) == ((rows,), (3, rows)))


def _read_scale(path: Path) -> float:
    try:
        scale = float(tensor_files.read_metadata(path)["scale"])
    except (KeyError, ValueError):
        scale = math.nan
    if not math.isfinite(scale):
        raise ModelError("the adapter file does not name its scale", where=str(path), cure="unwrap the checkpoint again")
    return scale
