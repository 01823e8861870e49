"""Reads the weights of wrapped checkpoints of stable-audio-tools' own trainer (`epoch=53-step=800.ckpt`).

The file is a zip with uncompressed tensors and is memory-mapped: the optimizer's moments, two thirds of the file, are never read.
torch's restricted unpickler creates only tensors and plain containers.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotune.errors import ModelError, first_line
from audiotune.store.tensor_files import LazyTensor, wrap_tensor

if TYPE_CHECKING:
    import torch

_ONLINE, _EMA = "diffusion.", "diffusion_ema.ema_model."


def is_upstream_checkpoint(path: Path) -> bool:
    """Whether a file is a torch checkpoint (a zip) and not a checkpoint pointer (JSON)."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_weights(path: Path, *, ema: bool | None) -> tuple[dict[str, LazyTensor], bool, int]:
    """The model's tensors, whether they are the running mean, and after how many steps.

    Args:
        ema: take the running mean; None takes it if there is one.

    Raises:
        ModelError: not a checkpoint of a diffusion model, forbidden objects in its pickle, or no running mean.
    """
    kept = _map_checkpoint(path)
    state = kept.get("state_dict", kept)
    online = {name.removeprefix(_ONLINE): tensor for name, tensor in state.items() if name.startswith(_ONLINE)}
    if not online:  # unwrapped already
        online = {name: tensor for name, tensor in state.items() if name.startswith(("model.", "conditioner.", "pretransform."))}
    mean = {f"model.{name.removeprefix(_EMA)}": tensor for name, tensor in state.items() if name.startswith(_EMA)}
    if not online:
        raise ModelError("no diffusion model in this checkpoint", where=str(path), cure="take one of a diffusion_cond training")
    if ema and not mean:
        raise ModelError("the checkpoint has no running mean", where=str(path), cure="leave ema unset")
    taken = bool(mean) if ema is None else ema
    chosen: Mapping[str, torch.Tensor] = {**online, **mean} if taken else online
    return {name: wrap_tensor(tensor) for name, tensor in chosen.items()}, taken, int(kept.get("global_step", 0))


def _map_checkpoint(path: Path) -> dict[str, Any]:
    import torch

    try:
        kept = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as e:
        cure = "save its state_dict alone, where you trust the file"
        raise ModelError(f"cannot read the checkpoint safely: {first_line(e)}", where=str(path), cure=cure) from e
    if not isinstance(kept, dict):
        raise ModelError("no checkpoint of stable-audio-tools", where=str(path), cure="take a .ckpt that its trainer wrote")
    return kept
