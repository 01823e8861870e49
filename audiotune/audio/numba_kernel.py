"""Kernels: plain Python loops over frames that numba compiles at the first call.

numba is imported only then, so that `--help` stays fast. The machine code is cached beside the source or, where that folder is
read-only (an image), in NUMBA_CACHE_DIR or the temporary folder.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiotune.store.cache_folder import choose_temporary_folder


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a loop over numpy arrays and numbers; it may call no other kernel."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return _compile_with_numba(function)(*args)

    return call


@functools.cache
def _compile_with_numba(function: Callable[..., Any]) -> Callable[..., Any]:
    cache = Path(__file__).parent / "__pycache__"
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(cache if cache.exists() else cache.parent, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(choose_temporary_folder("kernels"))
    import numba

    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    return compiled
