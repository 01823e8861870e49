"""Runs training on one CPU without a framework; on GPUs, in several processes and in fp16 by Lightning Fabric.

Only this file imports Lightning, and only when it is needed: the import takes seconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn.parallel import DistributedDataParallel

from audiotune.errors import SettingsError, TrainingError
from components.finetune.settings import Settings

_MIXED: dict[str, Any] = {"bf16": "bf16-mixed", "fp16": "16-mixed"}


class SingleCpuBackend:
    """One process on a CPU in fp32 or bf16, without Lightning. `rank` is the number of a process, 0 to `world - 1`."""

    rank, world = 0, 1

    def __init__(self, settings: Settings) -> None:
        self.device = torch.device("cpu")
        self._bf16 = settings.precision == "bf16"

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[..., torch.Tensor]:
        """The callable to use instead of the module: in mixed precision, with gradients averaged over all processes."""
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._optimizer = optimizer
        return module

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def forward_context(self, *, last: bool) -> AbstractContextManager[Any]:
        """Context of forward and backward of a part. Processes exchange gradients only in the `last` part of a batch."""
        return self.autocast()

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the training, for what calls the module itself: validation and demos."""
        return torch.autocast("cpu", torch.bfloat16) if self._bf16 else nullcontext()

    def ignore_parameters(self, module: nn.Module, names: set[str]) -> None:
        """Lets processes exchange no gradients of these parameters. Called before `prepare`."""

    def clip_gradients(self, norm: float) -> torch.Tensor:
        """Limits the norm of the gradients (not if `norm` is 0) and returns the norm before."""
        return nn.utils.clip_grad_norm_(self._parameters, norm or float("inf"))

    def step_optimizer(self) -> None:
        self._optimizer.step()

    def sum_over_processes(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def scaler_state(self) -> dict[str, float]:
        return {}

    def restore_scaler(self, state: dict[str, float]) -> None:
        return None


class FabricBackend:
    """One process of a Lightning Fabric that was launched."""

    def __init__(self, fabric: Any) -> None:
        self._fabric = fabric
        self.device, self.rank, self.world = fabric.device, int(fabric.global_rank), int(fabric.world_size)

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[..., torch.Tensor]:
        self._inner = module
        self._module, self._optimizer = self._fabric.setup(module, optimizer)
        return self._module

    def backward(self, loss: torch.Tensor) -> None:
        self._fabric.backward(loss)

    def forward_context(self, *, last: bool) -> AbstractContextManager[Any]:
        return self._fabric.no_backward_sync(self._module, enabled=not last) if self.world > 1 else nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._fabric.autocast()
        return context

    def ignore_parameters(self, module: nn.Module, names: set[str]) -> None:
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)

    def clip_gradients(self, norm: float) -> torch.Tensor:
        limit = norm or float("inf")
        before: torch.Tensor = self._fabric.clip_gradients(self._inner, self._optimizer, max_norm=limit, error_if_nonfinite=False)
        return before

    def step_optimizer(self) -> None:
        self._optimizer.step()

    def sum_over_processes(self, value: torch.Tensor) -> torch.Tensor:
        return self._fabric.all_reduce(value, reduce_op="sum")

    def scaler_state(self) -> dict[str, float]:
        scaler = getattr(self._fabric._precision, "scaler", None)
        return {} if scaler is None else {name: float(value) for name, value in scaler.state_dict().items()}

    def restore_scaler(self, state: dict[str, float]) -> None:
        scaler = getattr(self._fabric._precision, "scaler", None)
        if scaler is not None and state:
            whole = {
                name: int(value) if name in ("growth_interval", "_growth_tracker") else value for name, value in state.items()
            }
            scaler.load_state_dict(whole)


ComputeBackend = SingleCpuBackend | FabricBackend


def launch_processes(settings: Settings, work: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `work(backend, *arguments)` in every process and returns the result of the first.

    Raises:
        SettingsError: a device does not exist, or the addresses of the other nodes are missing.
        TrainingError: one of several processes failed; the message is its last line.
    """
    on_gpu = torch.cuda.is_available() if settings.device == "auto" else settings.device == "cuda"
    if on_gpu and torch.cuda.device_count() < settings.devices:
        raise SettingsError(
            f"{settings.devices} GPUs asked for, {torch.cuda.device_count()} here", cure="lower the setting devices"
        )
    if not on_gpu and settings.precision == "fp16":
        raise SettingsError("fp16 needs a GPU", where="precision", cure="take fp32 or bf16 on a CPU")
    several = settings.nodes * settings.devices > 1
    if not on_gpu and not several:
        return work(SingleCpuBackend(settings), *arguments)
    if settings.nodes > 1:
        _set_rendezvous(settings.nodes)
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # TF32: whoever needs more digits trains on a CPU
        torch.backends.cudnn.allow_tf32 = True
    from lightning_fabric import Fabric as Lightning
    from lightning_fabric.strategies.ddp import DDPStrategy

    lightning = Lightning(
        accelerator="cuda" if on_gpu else "cpu",
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=DDPStrategy(start_method="spawn", gradient_as_bucket_view=True) if several else "auto",
        plugins=make_precision_plugins(settings, "cuda" if on_gpu else "cpu"),
    )
    if not several:
        lightning.launch()
        return work(FabricBackend(lightning), *arguments)
    in_process: Any = _run_in_process
    try:
        return lightning.launch(in_process, work, _OpaqueContent(arguments)).content
    except ProcessRaisedException as e:
        raise TrainingError(_extract_error_line(str(e)), where=f"process {e.error_index}") from e


def make_precision_plugins(settings: Settings, device: str) -> list[Any]:
    """Lightning's plugins for the precision of a training on "cuda" or "cpu"; none for fp32.

    Lightning would turn the inputs into the low precision, too: noise levels would be told apart by three digits only, and the noise to
    predict would be rounded. Autocast alone converts what each operation needs.
    """
    if settings.precision == "fp32":
        return []
    from lightning_fabric.plugins.precision import MixedPrecision

    mixed: Any = MixedPrecision(_MIXED[settings.precision], device=device)
    mixed.convert_input = _keep_inputs
    return [mixed]


def _keep_inputs(inputs: Any) -> Any:
    return inputs


def make_imitated_backend(settings: Settings) -> FabricBackend:
    """The backend of one GPU that is not there. Call it within `audiotune.stable_audio.fake_gpu.imitate_gpu`."""
    from lightning_fabric import Fabric as Lightning
    from lightning_fabric.accelerators.cpu import CPUAccelerator
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy

    class ImitatedAccelerator(CPUAccelerator):
        def setup_device(self, device: torch.device) -> None:
            """There is nothing to set up."""

    lightning = Lightning(
        strategy=SingleDeviceStrategy(torch.device("cuda", 0), accelerator=ImitatedAccelerator()),
        plugins=make_precision_plugins(settings, "cuda"),
    )
    lightning.launch()
    return FabricBackend(lightning)


def _set_rendezvous(nodes: int) -> None:
    """Sets Lightning's variables from PET_*, as Kubeflow Trainer sets them and torchrun reads them, else from the plain names.

    Raises:
        SettingsError: a variable is missing, or the number of nodes differs.
    """
    names = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    values = {name: os.environ.get(f"PET_{name}") or os.environ.get(name, "") for name in names}
    missing = ", ".join(f"PET_{name}" for name, value in values.items() if not value)
    cure = "let a TrainJob start it, or set PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR and PET_MASTER_PORT on each node"
    if missing:
        raise SettingsError(f"one of {nodes} nodes, but {missing} does not say where the others are", where="nodes", cure=cure)
    if values["NNODES"] != str(nodes):
        raise SettingsError(f"{nodes} nodes asked for, {values['NNODES']} are there", where="PET_NNODES", cure=cure)
    os.environ.update({name: values[name] for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")})


def _extract_error_line(trace: str) -> str:
    """The message of the error in another process's traceback, without its class name."""
    line = next((line.strip() for line in reversed(trace.splitlines()) if line.strip()), "a process failed")
    return re.sub(r"^audiotune\.errors\.\w+: ", "", line)


def _run_in_process(lightning: Any, work: Callable[..., Any], arguments: _OpaqueContent) -> _OpaqueContent:
    return _OpaqueContent(work(FabricBackend(lightning), *arguments.content))


class _OpaqueContent:
    """Wraps values that Lightning passes between processes: it would search them for tensors and fails at frozen dataclasses."""

    def __init__(self, content: Any) -> None:
        self.content = content
