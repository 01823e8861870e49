"""Batches whose rows do not depend on each other: a request gives the same bits alone, in any batch and in any order.

Matrix libraries may choose another kernel for another batch size or another number of threads, and another kernel rounds
differently. The result of a request alone is the reference. A matrix product of the whole batch is used only if a test with the
same shape in this process gave the same bits; otherwise each request is computed alone, with the threads of one request. All other
operations of a diffusion transformer compute each row by itself.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from audiotune.stable_audio.low_rank_layers import LowRankAddition, add_to_layer
from audiotune.stable_audio.threads import use_threads

_batch_is_exact: dict[tuple[Any, ...], bool] = {}  # shapes of layers and batches -> whether the whole batch gives the same bits


@contextlib.contextmanager
def isolate_requests(model: Any) -> Iterator[None]:
    """Within the block, linear layers and convolutions of the model take their input [rows, ...] request by request.

    With guidance a request has two rows, with and without its words; they are computed as a pair, as for one request alone.

    The model may be called with `beside`: layer name -> what adapters add to it, see `adapters.load_adapters`. That is computed
    request by request as well, and for that call only. `wordless` means that no request of the batch has a
    negative prompt. The caller states it, because values in the batch must not decide how a request is computed.

    Enter it with the number of threads for one request; a batch may then use another number. Not for two threads on one model at a
    time.
    """
    import torch
    from torch import nn

    if "forward" in vars(model):  # a nested call: the layers are wrapped already
        yield
        return
    requests = _RequestBatch(torch.get_num_threads())
    layers: dict[str, Any] = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Conv1d)}
    before = {part: vars(part)["forward"] for part in layers.values() if "forward" in vars(part)}  # of packed layers
    attentions = [part for name, part in model.named_modules() if name.endswith("cross_attn") and _maps_zeros_to_zeros(part)]
    model.forward = requests.wrap_model(model.forward)
    for name, layer in layers.items():
        layer.forward = requests.wrap_layer(name, layer)
    for part in attentions:
        part.forward = requests.wrap_cross_attention(part.forward)
    try:
        yield
    finally:
        for part in (model, *layers.values(), *attentions):
            del part.forward
        for part, forward in before.items():
            part.forward = forward


class _RequestBatch:
    """The number of requests in the current call of the model, and the adapters of its layers.

    Attributes:
        alone: threads that one request is computed with.
    """

    count = 0
    beside: Mapping[str, LowRankAddition] = {}
    wordless = False

    def __init__(self, alone: int) -> None:
        self.alone = alone

    def wrap_model(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(
            x: Any, *args: Any, beside: Mapping[str, LowRankAddition] | None = None, wordless: bool = False, **options: Any
        ) -> Any:
            self.count, self.beside, self.wordless = len(x), beside or {}, wordless
            return forward(x, *args, **options)

        return call

    def wrap_cross_attention(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Computes cross-attention only for rows with words. The unconditional half attends to zeros and gives zeros."""
        import torch

        def call(x: Any, context: Any = None, **options: Any) -> Any:
            count = self.count
            halves = self.wordless and context is not None and len(x) == 2 * count and x.device.type == "cpu"
            if not halves or bool(context[count:].any()):
                return forward(x, context=context, **options)
            attended = forward(x[:count], context=context[:count], **options)
            return torch.cat([attended, torch.zeros_like(attended)])

        return call

    def wrap_layer(self, name: str, layer: Any) -> Callable[[Any], Any]:
        import torch

        plain = layer.forward
        packed = "forward" in vars(layer)
        shape = (type(layer).__name__, packed, *layer.weight.shape, layer.bias is None, layer.weight.dtype)

        def call(x: Any) -> Any:
            count, x = self.count, x.contiguous()  # another memory layout may select another kernel
            addition = self.beside.get(name)
            forward = plain if addition is None else add_to_layer(layer, plain, addition)
            if count < 2 or x.ndim < 2:
                return forward(x)
            added = None if addition is None else addition.shape
            key = (count, added, *shape, *x.shape, x.dtype, x.device, torch.get_num_threads(), self.alone)
            if key not in _batch_is_exact:
                _batch_is_exact[key] = _gives_same_bits(forward, x, count, self.alone)
            return forward(x) if _batch_is_exact[key] else run_each_request(forward, x, count, self.alone)

        return call


def run_each_request(forward: Callable[[Any], Any], x: Any, count: int, threads: int) -> Any:
    """A layer's output for [rows, ...] of `count` requests, computed one request at a time with `threads` threads."""
    import torch

    with use_threads(threads):
        if len(x) != 2 * count:
            return torch.cat([forward(x[i : i + 1]) for i in range(len(x))])
        # upstream puts all rows with words first, then all without
        pairs = [forward(x[i::count].contiguous()) for i in range(count)]
    return torch.stack(pairs, dim=1).flatten(0, 1)


def _maps_zeros_to_zeros(attention: Any) -> bool:
    """Whether an all-zero context gives zeros: values and output have no bias, as upstream."""
    return all(getattr(getattr(attention, name, None), "bias", 0) is None for name in ("to_kv", "to_out"))


def _gives_same_bits(forward: Callable[[Any], Any], x: Any, count: int, threads: int) -> bool:
    """Whether the whole batch gives the same bits as each request alone: libraries choose kernels by shape, not by value."""
    import torch

    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    return torch.equal(forward(drawn), run_each_request(forward, drawn, count, threads))


class GuidanceScales:
    """Guidance per row in place of the one number that stable-audio-tools compares with 1, subtracts 1 from and multiplies by.

    Args:
        values: one a row; all are 1 (no guidance) or none is.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Sequence[float], device: Any) -> None:
        import torch

        self._off = all(value == 1.0 for value in values)
        self._rows = torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)

    def select_rows(self, rows: Sequence[int]) -> GuidanceScales:
        """The guidance of some rows."""
        selected = copy.copy(self)
        selected._rows = self._rows[list(rows)]
        return selected

    def __eq__(self, other: object) -> bool:
        return self._off if other == 1.0 else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self._off if other == 1.0 else NotImplemented

    def __sub__(self, other: float) -> Any:
        return self._rows - other

    def __rmul__(self, latents: Any) -> Any:
        return latents * self._rows.to(latents.dtype)
