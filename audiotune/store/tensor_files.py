"""Reads and writes safetensors files one tensor at a time, so that a whole model is never in memory.

Format: eight bytes (length of the header, little endian), a JSON header with dtype, shape and offsets of every tensor, then
their bytes without gaps (https://github.com/huggingface/safetensors#format). Nothing is pickled.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotune.errors import ModelError
from audiotune.store.atomic_files import replace_atomically
from audiotune.store.port import Store

if TYPE_CHECKING:
    import torch

STATE = (
    ".state.safetensors"  # suffix of a training's state: the users' rights differ from those for weights, which members co-own
)
_CODES = {
    "bfloat16": "BF16",
    "uint8": "U8",
    "bool": "BOOL",
    **{f"float{bits}": f"F{bits}" for bits in (64, 32, 16)},
    **{f"int{bits}": f"I{bits}" for bits in (64, 32, 16, 8)},
}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not loaded yet: its dtype, its shape and a function that loads it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def wrap_tensor(tensor: torch.Tensor) -> LazyTensor:
    """A tensor that is in memory already as a LazyTensor."""
    return LazyTensor(tensor.dtype, tuple(tensor.shape), lambda: tensor)


def write_tensors(path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Writes tensors one by one to a temporary name, then renames. The same tensors give the same bytes.

    Raises ModelError: a dtype that the format does not have, or a loaded tensor that differs from its LazyTensor.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # keeps every tensor aligned
    with replace_atomically(path) as part, part.open("wb") as file:
        file.write(_encode_header(order, tensors, metadata))
        for name in order:
            file.write(_encode_tensor(name, tensors[name]))
    return path


def store_tensors(
    store: Store, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str] | None = None, *, suffix: str = ".safetensors"
) -> str:
    """Stores tensors as a blob and returns its key, which ends with `suffix`: `STATE` for tensors that only a trainer may read."""
    with tempfile.TemporaryDirectory(prefix="audiotune-tensors-") as folder:
        return store.put_blob(write_tensors(Path(folder) / "tensors.safetensors", tensors, metadata), suffix)


@contextmanager
def open_tensors(path: Path) -> Iterator[dict[str, LazyTensor]]:
    """The tensors of a safetensors file, mapped into memory: only what is loaded is read. Raises ModelError for a damaged file."""
    with _open_file(path) as file:
        yield {name: _make_lazy_tensor(file, name) for name in file.keys()}  # noqa: SIM118  (not a dict)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file. Raises ModelError as `open_tensors` does."""
    with _open_file(path) as file:
        return dict(file.metadata() or {})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Copies of all tensors of a safetensors file."""
    with open_tensors(path) as tensors:
        return {name: tensor.load().clone() for name, tensor in tensors.items()}


def _open_file(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as e:
        raise ModelError(f"cannot read the tensors: {e}", where=str(path), cure="take a whole .safetensors file") from e


def _make_lazy_tensor(file: Any, name: str) -> LazyTensor:
    part = file.get_slice(name)
    return LazyTensor(_dtypes_by_code()[part.get_dtype()], tuple(part.get_shape()), lambda: file.get_tensor(name))


def _encode_header(order: list[str], tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name in order:
        tensor = tensors[name]
        end = start + tensor.size_bytes
        header[name] = {"dtype": _encode_dtype(tensor.dtype), "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _encode_tensor(name: str, promised: LazyTensor) -> memoryview:
    import torch

    tensor = promised.load().detach().cpu()
    if tensor.dtype != promised.dtype or tuple(tensor.shape) != promised.shape:
        raise ModelError(f"the tensor {name!r} is not what was announced", cure="this is a bug; please report it")
    raw: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(raw)


def _encode_dtype(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in _CODES:
        raise ModelError(f"safetensors has no {name} tensors", cure="convert it to a real dtype first")
    return _CODES[name]


def _dtypes_by_code() -> dict[str, torch.dtype]:
    import torch

    return {code: getattr(torch, name) for name, code in _CODES.items()}
