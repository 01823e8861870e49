"""Counts the bytes of the storages that live on a device, and their peak, while a piece of code runs: real tensors or fake ones."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StorageCount(TorchDispatchMode):
    """Follows each storage that an operation makes, from its birth to its death.

    What a kernel takes for itself while it runs is not seen, nor what an allocator keeps in reserve.

    Attributes:
        live_bytes: now.
        peak_bytes: the most since the beginning or the last `reset_peak`.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self._kind = torch.device(device).type
        self._known: dict[int, weakref.ref[Any]] = {}
        self.live_bytes = self.peak_bytes = 0

    def reset_peak(self) -> None:
        self.peak_bytes = self.live_bytes

    def add_tensors(self, *tensors: Any) -> None:
        """Follows tensors that were made before, too."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.device.type == self._kind:
                self._add_storage(tensor.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not torch.ops.prim.device.default:
            self.add_tensors(*tree_leaves(result))
        return result

    def _add_storage(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def forget(_: Any) -> None:
            self._known.pop(key, None)
            self.live_bytes -= size

        self._known[key] = weakref.ref(storage, forget)
        self.live_bytes += size
