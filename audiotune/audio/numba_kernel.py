"""Kernels: plain Python loops over frames, compiled by numba on first call.

numba is imported with the first call, not before: so that `--help` stays fast. The machine code is cached beside the source or,
where that folder is read-only (an image), in NUMBA_CACHE_DIR or the temporary folder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiotune.store.cache_folder import choose_temporary_folder


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a loop over numpy arrays and numbers; it may call no other kernel."""
    compiled: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            compiled = _compile_with_numba(function)
        return compiled(*args)

    return call


def _compile_with_numba(function: Callable[..., Any]) -> Callable[..., Any]:
    if "NUMBA_CACHE_DIR" not in os.environ and not _is_writable(Path(__file__).parent):
        os.environ["NUMBA_CACHE_DIR"] = str(choose_temporary_folder("kernels"))
    import numba

    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    return compiled


def _is_writable(folder: Path) -> bool:
    cache = folder / "__pycache__"
    return os.access(cache if cache.exists() else folder, os.W_OK)
