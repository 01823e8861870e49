"""Reads weights that were trained elsewhere: with stable-audio-tools (`epoch=53-step=800.ckpt`, `model.ckpt`), or adapters.

The optimizer's moments, two thirds of a wrapped checkpoint, are never read (`torch_files`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.errors import ModelError
from audiotune.stable_audio.adapter_files import is_foreign_adapter, read_foreign_adapter
from audiotune.stable_audio.adapters import describe_adapter
from audiotune.stable_audio.base_models import BaseModelFolder
from audiotune.stable_audio.torch_files import is_torch_file, map_torch_file
from audiotune.stable_audio.weight_merging import collect_adapter_tensors, merge_weights
from audiotune.store import tensor_files
from audiotune.store.port import Store, compute_digest
from audiotune.store.tensor_files import LazyTensor, wrap_tensor
from components.unwrap.settings import Settings

_ONLINE, _EMA = "diffusion.", "diffusion_ema.ema_model."
_WHOLE = ("model.", "conditioner.", "pretransform.")  # parts of a model that is unwrapped already


@dataclass(frozen=True)
class StoredWeights:
    """Store keys of a model's weights and of an adapter beside them, or empty; and what the file says of its training."""

    weights: str
    adapter: str = ""
    ema: bool = False
    step: int = 0


def is_foreign(path: Path) -> bool:
    """Whether these are weights of another program, and not a checkpoint pointer (JSON)."""
    return path.is_dir() or path.suffix == ".safetensors" or is_torch_file(path)


def store_foreign_weights(
    settings: Settings, store: Store, path: Path, base: BaseModelFolder, origin: ForeignOrigin | None
) -> StoredWeights:
    """Puts weights, or an adapter with its base's weights, into the store, whole: what they lack, they take from the base.

    Raises:
        ModelError: not of this base, forbidden objects in a pickle, or an adapter that is not kept as matrices.
    """
    with ExitStack() as stack:
        whole = stack.enter_context(tensor_files.open_tensors(base.weights_path))
        if not is_foreign_adapter(path):
            tensors, ema, step = stack.enter_context(open_weights_file(path, ema=settings.ema))
            return StoredWeights(tensor_files.store_tensors(store, merge_weights(whole, tensors, None)), ema=ema, step=step)
        adapters = read_foreign_adapter(path, whole).weights
        if settings.lora == "merge":
            return StoredWeights(tensor_files.store_tensors(store, merge_weights(whole, {}, adapters)))
        metadata = describe_adapter(adapters.scale, origin)
        adapter = tensor_files.store_tensors(store, collect_adapter_tensors(adapters, whole), metadata)
        return StoredWeights(store.put_blob(base.weights_path, ".safetensors"), adapter)


def describe_origin(settings: Settings, path: Path) -> ForeignOrigin:
    """What is stated about weights from elsewhere."""
    weights = path if path.is_file() else next(iter(sorted(path.glob("adapter_model.*"))), path / "adapter_model.safetensors")
    if not weights.is_file():
        raise ModelError("no weights in this folder", where=str(path), cure="name the folder that peft wrote, or a file")
    program = "peft" if path.is_dir() else "stable-audio-tools"
    return ForeignOrigin(
        by=settings.made_by, licence=settings.licence, file=path.name, digest=compute_digest(weights), program=program
    )


@contextmanager
def open_weights_file(path: Path, *, ema: bool | None) -> Iterator[tuple[dict[str, LazyTensor], bool, int]]:
    """A model's tensors, whether they are the running mean, and after how many steps. Nothing is in memory before it is used.

    Args:
        path: a wrapped or unwrapped .ckpt, or an unwrapped .safetensors.
        ema: take the running mean; None takes it if there is one.

    Raises:
        ModelError: not of a diffusion model, forbidden objects in its pickle, or no running mean.
    """
    if path.suffix == ".safetensors":
        with tensor_files.open_tensors(path) as tensors:
            yield *_select_weights(tensors, path, ema), 0
        return
    kept = map_torch_file(path)
    state = {str(name): wrap_tensor(tensor) for name, tensor in kept.get("state_dict", kept).items() if hasattr(tensor, "shape")}
    yield *_select_weights(state, path, ema), int(kept.get("global_step", 0))


def _select_weights(state: Mapping[str, LazyTensor], path: Path, ema: bool | None) -> tuple[dict[str, LazyTensor], bool]:
    online = {name.removeprefix(_ONLINE): tensor for name, tensor in state.items() if name.startswith(_ONLINE)}
    if not online:  # unwrapped already
        online = {name: tensor for name, tensor in state.items() if name.startswith(_WHOLE)}
    mean = {f"model.{name.removeprefix(_EMA)}": tensor for name, tensor in state.items() if name.startswith(_EMA)}
    if not online:
        raise ModelError("no diffusion model in this checkpoint", where=str(path), cure="take one of a diffusion_cond training")
    if ema and not mean:
        raise ModelError("the checkpoint has no running mean", where=str(path), cure="leave ema unset")
    taken = bool(mean) if ema is None else ema
    return ({**online, **mean} if taken else online), taken
