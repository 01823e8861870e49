"""LoRA adapters that were kept beside their base, merged into a model in memory (Hu et al. 2021: W + scale B A)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotune import tensors
from audiotune.errors import ModelError
from audiotune.merging import Adapters
from audiotune.tensors import Lazy, lazy


def merge(model: Any, path: Path, strength: float = 1.0) -> None:
    """Adds an adapter file, as `unwrap` with lora = keep wrote it, to a model's fp32 weights on the CPU.

    At strength 1 the weights are equal, to the last bit, to those of unwrap with lora = merge.

    Raises:
        ModelError: no adapter file, or one for layers that this model does not have in this shape.
    """
    import torch

    own = model.state_dict()
    with tensors.opened(path) as found, torch.no_grad():
        adapters = Adapters.among(found, strength * _scale(path))
        if not adapters.pairs or 2 * len(adapters.pairs) != len(found):
            raise ModelError("not an adapter file", where=str(path), cure="take the file that unwrap with lora = keep wrote")
        for layer in adapters.pairs:
            weight = own.get(f"{layer}.weight")
            if weight is None or not _fits(adapters.pairs[layer], tuple(weight.shape)):
                raise ModelError(
                    f"an adapter for {layer!r}, which does not fit this model",
                    where=str(path),
                    cure="name the base it was tuned from",
                )
            weight.copy_(adapters.merged(layer, lazy(weight.clone())).load())


def _fits(pair: tuple[Lazy, Lazy], weight: tuple[int, ...]) -> bool:
    a, b = (tensor.shape for tensor in pair)
    return len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == weight


def _scale(path: Path) -> float:
    try:
        return float(tensors.metadata(path)["scale"])
    except (KeyError, ValueError):
        raise ModelError(
            "the adapter file does not name its scale", where=str(path), cure="unwrap the checkpoint again"
        ) from None
