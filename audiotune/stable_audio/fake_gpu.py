"""A GPU that is not there: its tensors have shape, dtype and device, and no memory (torch's FakeTensorMode). Tensors of the CPU are real.

What two devices or two dtypes would break on a GPU breaks here with torch's own words, and the storages that live at a moment can be
counted. What comes back from the GPU is zeros. Where torch finds no GPU, FakeTensorMode alone cannot do this; mended here are:

- autograd's engine sends each node to the queue of its device, and there is none for a GPU that is not there. Autograd is told "meta",
  whose nodes it runs itself; everybody else is told the truth.
- autocast and pinned memory are refused where torch finds no GPU.
- attention takes its unfused form there, which keeps a matrix of frames by frames. The fused kernel that a GPU takes is called instead.
- FakeTensorMode lets matrix products of two dtypes pass.
- Module.to exchanges the contents of fake parameters, which torch refuses for those that stay where they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.autograd.graph import _engine_run_backward, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
_META = torch.device("meta")
_HALVES = (torch.bfloat16, torch.float16)
_ATEN = torch.ops.aten
_TENSOR: Any = torch.Tensor
_ONE_DTYPE = {_ATEN.mm, _ATEN.addmm, _ATEN.bmm, _ATEN.baddbmm, _ATEN.convolution, _ATEN.native_layer_norm}


@contextlib.contextmanager
def imitate_gpu() -> Iterator[FakeGpu]:
    """Within the block "cuda" is a device. Its tensors are of no use outside."""
    gpu = FakeGpu()
    with _allow_autocast(), _move_parameters(), gpu.fake, gpu, _GpuFunctions(gpu):
        yield gpu


class FakeGpu(TorchDispatchMode):
    """Runs operations on tensors of the GPU as shapes only, and all others as usual.

    Autograd asks for the device of a parameter when its first node is made (`hold_parameter`), of the output of an operation that needs
    gradients before anybody else asks, and of gradients during a backward pass (`answer_autograd`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode()
        self._new_outputs: set[int] = set()
        self._edges: dict[int, Any] = {}
        self._autograd_asks = False

    def hold_parameter(self, parameter: torch.Tensor) -> None:
        """Makes the parameter's node, which keeps its device for autograd."""
        if parameter._cdata not in self._edges:
            with self.answer_autograd():
                self._edges[parameter._cdata] = get_gradient_edge(parameter)

    def forget_parameter(self, parameter: torch.Tensor) -> None:
        self._edges.pop(parameter._cdata, None)

    @contextlib.contextmanager
    def answer_autograd(self) -> Iterator[None]:
        """Within the block it is autograd that asks, except where a backward pass computes activations again."""
        before, self._autograd_asks = self._autograd_asks, True
        try:
            yield
        finally:
            self._autograd_asks = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return self._tell_device(args[0])
        kwargs = dict(kwargs or {})
        if _is_gpu(kwargs.get("device"), _META):
            kwargs["device"] = GPU
        leaves = tree_leaves((args, kwargs))
        if not _is_gpu(kwargs.get("device")) and not any(isinstance(x, FakeTensor) for x in leaves):
            kwargs.pop("pin_memory", None)
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        result = self._run_on_gpu(func, args, kwargs, leaves)
        learns = torch.is_grad_enabled() and any(_needs_gradient(x) for x in leaves)
        self._new_outputs = {id(x) for x in tree_leaves(result) if isinstance(x, FakeTensor)} if learns else set()
        return result

    def _run_on_gpu(self, func: Any, args: Any, kwargs: Any, leaves: list[Any]) -> Any:
        if func is _ATEN.equal.default:  # zeros all over
            return True
        if func is _ATEN._local_scalar_dense.default:
            return 0.0 if args[0].is_floating_point() else False if args[0].dtype == torch.bool else 0
        if func is _ATEN.copy_.default and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return args[0].zero_()
        if func is _ATEN.nonzero.default:
            return _find_all(args[0])
        if func is _ATEN.index.Tensor:
            args = (args[0], [part for x in args[1] for part in _replace_mask(x)])
        _require_one_dtype(func, leaves)
        kwargs |= {"generator": None} if "generator" in kwargs else {}  # of the CPU: there is no other
        args, kwargs = tree_map_only(torch.Tensor, _take_tensor, (args, kwargs))
        result = func(*args, **kwargs)
        with unset_fake_temporarily():
            return tree_map_only(FakeTensor, _bring_back, result)

    def _tell_device(self, tensor: FakeTensor) -> torch.device:
        device: torch.device = tensor.device
        computes_again = torch._C._current_graph_task_id() != -1 and torch.is_grad_enabled()
        autograd_asks = self._autograd_asks and not computes_again
        if id(tensor) in self._new_outputs:
            self._new_outputs.remove(id(tensor))
            autograd_asks = True
        return _META if autograd_asks else device


class _GpuFunctions(TorchFunctionMode):
    """Python's side of `FakeGpu`: sees functions before they become operations, and parameters before autograd does."""

    def __init__(self, gpu: FakeGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tree_leaves((args, kwargs)) if torch.is_grad_enabled() else ():
            if isinstance(tensor, FakeTensor) and _needs_gradient(tensor) and tensor.is_leaf:
                self._gpu.hold_parameter(tensor)
        if func is functional.scaled_dot_product_attention and isinstance(args[0], FakeTensor):
            return _attend(*args, **kwargs)
        if func == _TENSOR.data.__set__:  # autograd makes another node for other data
            self._gpu.forget_parameter(args[0])
        if func is torch.Tensor.backward:
            with self._gpu.answer_autograd(), self:  # what is computed again comes here, too
                return _run_backward(*args, **kwargs)
        return func(*args, **kwargs)


def _run_backward(
    loss: torch.Tensor, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, **_: Any
) -> Any:
    """As torch.autograd.backward, which would leave the modes of functions."""
    gradient = torch.ones_like(loss) if gradient is None else gradient
    keep = bool(create_graph if retain_graph is None else retain_graph)
    options = {"allow_unreachable": True, "accumulate_grad": True}
    return _engine_run_backward((loss,), (gradient,), keep, create_graph, (), **options)


def _attend(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, **options: Any
) -> Any:
    """Attention by the kernel that torch takes on a GPU: flash in half precision without a mask, else the memory-efficient one."""
    scale = options.get("scale")
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (x.to(torch.get_autocast_dtype("cuda")) for x in (query, key, value))
    if len({(x.dtype, x.device) for x in (query, key, value)}) != 1:
        raise RuntimeError(f"attention of {[(x.dtype, x.device) for x in (query, key, value)]}")
    if attn_mask is None and query.dtype in _HALVES:
        return _ATEN._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, float("-inf"))
        attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    efficient = _ATEN._scaled_dot_product_efficient_attention
    return efficient(query, key, value, attn_mask, learns, dropout_p, is_causal, scale=scale)[0]


class _CpuGenerator:
    """torch.Generator of whatever device; a class, because others name it in their type hints."""

    _plain = torch.Generator

    def __new__(cls, *_: Any) -> Any:
        return cls._plain()


@contextlib.contextmanager
def _allow_autocast() -> Iterator[None]:
    """Within the block torch does not switch autocast for GPUs off, and there is nothing to wait for; what draws for it draws here."""
    replaced: list[tuple[Any, str, Any]] = [
        (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        (torch.cuda, "is_bf16_supported", lambda *_: True),
        (torch.cuda, "synchronize", lambda *_: None),
        (torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state()),
        (torch.cuda, "set_rng_state", lambda *_: None),
        (torch, "Generator", _CpuGenerator),
    ]
    before = [getattr(module, name) for module, name, _ in replaced]
    try:
        for module, name, answer in replaced:
            setattr(module, name, answer)
        yield
    finally:
        for (module, name, _), answer in zip(replaced, before):
            setattr(module, name, answer)


@contextlib.contextmanager
def _move_parameters() -> Iterator[None]:
    """Within the block a module that moves gets a new parameter for each fake one that changes."""
    modules: Any = nn.Module
    plain = modules._apply

    def apply(module: Any, move: Any, recurse: bool = True) -> Any:
        fakes = {name: held for name, held in module._parameters.items() if isinstance(held, FakeTensor)}
        module._parameters.update(dict.fromkeys(fakes))
        plain(module, move, recurse)
        for name, parameter in fakes.items():
            with torch.no_grad():
                moved = move(parameter)
            module._parameters[name] = parameter if moved is parameter else nn.Parameter(moved, parameter.requires_grad)
        return module

    modules._apply = apply
    try:
        yield
    finally:
        modules._apply = plain


def _require_one_dtype(func: Any, leaves: list[Any]) -> None:
    dtypes = {x.dtype for x in leaves if isinstance(x, torch.Tensor)} if func.overloadpacket in _ONE_DTYPE else set()
    if len(dtypes) > 1:
        raise RuntimeError(f"{func} of tensors of several dtypes: {', '.join(sorted(map(str, dtypes)))}")


def _find_all(mask: torch.Tensor) -> torch.Tensor:
    """Places [values, dimensions] of a mask that is true everywhere, which takes the most memory."""
    return torch.empty(mask.numel(), mask.ndim, dtype=torch.long, device=GPU)


def _replace_mask(index: Any) -> list[Any]:
    if index is None or index.dtype != torch.bool:
        return [index]
    return [torch.empty(index.numel(), dtype=torch.long, device=GPU) for _ in range(index.ndim)]


def _take_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A fake tensor for a real one."""
    return tensor if isinstance(tensor, FakeTensor) else torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def _bring_back(tensor: FakeTensor) -> torch.Tensor:
    """A result on the CPU as a real tensor of zeros."""
    return tensor if tensor.device.type == "cuda" else torch.zeros(tensor.shape, dtype=tensor.dtype)


def _is_gpu(device: Any, kind: torch.device = GPU) -> bool:
    return device is not None and torch.device(device).type == kind.type


def _needs_gradient(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad
