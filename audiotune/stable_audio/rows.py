"""Batches whose rows do not know of each other: the same bits alone, beside others and in any order.

Matrix libraries may choose another kernel for another batch size, and another kernel rounds differently. What counts is what a
request gives by itself. A matrix product of the whole batch is taken where it was found, for that very shape in this process, to
give the same bits; else request by request. Everything else of a diffusion transformer treats rows apart by nature.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_whole: dict[tuple[Any, ...], bool] = {}  # shapes of layers and batches -> whether the whole batch gives the same bits


@contextlib.contextmanager
def apart(model: Any) -> Iterator[None]:
    """Within the block, linear layers and convolutions of the model take their input [rows, ...] request by request.

    With guidance a request has two rows, with and without its words; they are taken as a pair, which is what one request alone
    would give the layer: alone nothing is slower than without this.

    Not for two threads on one model at a time.
    """
    from torch import nn

    if "forward" in vars(model):  # a batch within a batch: they are apart already
        yield
        return
    requests = _Requests()
    layers: list[Any] = [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv1d)]
    model.forward = requests.counted(model.forward)
    for layer in layers:
        layer.forward = requests.one_by_one(layer.forward)
    try:
        yield
    finally:
        for part in (model, *layers):
            del part.forward


class _Requests:
    """How many requests the model is asked for at the moment."""

    count = 0

    def counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: Any, *args: Any, **options: Any) -> Any:
            self.count = len(x)
            return forward(x, *args, **options)

        return call

    def one_by_one(self, forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
        import torch

        layer = forward.__self__  # type: ignore[attr-defined]
        shape = (type(layer).__name__, *layer.weight.shape, layer.bias is None, layer.weight.dtype)

        def call(x: Any) -> Any:
            count, x = self.count, x.contiguous()  # another layout in memory is another kernel, too
            if count < 2 or x.ndim < 2:
                return forward(x)
            key = (count, *shape, *x.shape, x.dtype, x.device, torch.get_num_threads())
            if key not in _whole:
                _whole[key] = _same_bits(forward, x, count)
            return forward(x) if _whole[key] else apiece(forward, x, count)

        return call


def apiece(forward: Callable[[Any], Any], x: Any, count: int) -> Any:
    """A layer's output for [rows, ...] of `count` requests, taken one request at a time."""
    import torch

    if len(x) != 2 * count:
        return torch.cat([forward(x[i : i + 1]) for i in range(len(x))])
    # upstream puts all rows with words first, then all without
    pairs = [forward(x[i::count].contiguous()) for i in range(count)]
    return torch.stack(pairs, dim=1).flatten(0, 1)


def _same_bits(forward: Callable[[Any], Any], x: Any, count: int) -> bool:
    """Whether the batch as a whole gives what its requests give apart: kernels are chosen by shapes, not by values."""
    import torch

    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    return torch.equal(forward(drawn), apiece(forward, drawn, count))


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
