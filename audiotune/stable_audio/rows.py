"""Batches whose rows do not know of each other: the same bits alone, beside others and in any order.

Matrix libraries choose another kernel for another batch size, and another kernel rounds differently. So matrix products are
taken one row at a time, each in its own shape; everything else of a diffusion transformer treats rows apart by nature and
stays batched, which is where small models spend their time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def apart(model: Any) -> Iterator[None]:
    """Within the block, linear layers and convolutions of the model take their input [rows, ...] row by row.

    Not for two threads on one model at a time.
    """
    from torch import nn

    layers: list[Any] = [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv1d)]
    if any("forward" in vars(layer) for layer in layers[:1]):  # a batch within a batch: they are apart already
        yield
        return
    for layer in layers:
        layer.forward = _row_by_row(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _row_by_row(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import torch

    def rows(x: Any) -> Any:
        return forward(x) if x.ndim < 2 or len(x) == 1 else torch.cat([forward(x[i : i + 1]) for i in range(len(x))])

    return rows


class Scales:
    """Guidance of each row where stable-audio-tools expects one number: it compares it with 1 and multiplies by it.

    Args:
        values: one a row; all are 1 (no guidance) or none is.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Sequence[float], device: Any) -> None:
        import torch

        self._off = all(value == 1.0 for value in values)
        self._rows = torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)

    def taken(self, rows: Sequence[int]) -> Scales:
        """Those of some rows."""
        found = object.__new__(Scales)
        found._off, found._rows = self._off, self._rows[list(rows)]
        return found

    def __eq__(self, other: object) -> bool:
        return self._off if other == 1.0 else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self._off if other == 1.0 else NotImplemented

    def __rmul__(self, latents: Any) -> Any:
        return latents * self._rows.to(latents.dtype)
