"""Adapters of other programs, read and written: peft's folders, and stable-audio-tools' own files, which Stable Audio 3 has too.

Read are LoRA and DoRA whose magnitudes belong to the rows of a layer (peft's `use_dora`, stable-audio-tools' `dora-rows`). `-xs` variants
become plain matrices: their frozen bases are the singular vectors of the base's weights. Layers get the names they have in the state
dict of a whole model, `model....` or `conditioner....`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audiotune.errors import ModelError
from audiotune.stable_audio.adapters import is_adapter_file
from audiotune.stable_audio.torch_files import map_torch_file
from audiotune.stable_audio.weight_merging import LoraWeights
from audiotune.store import tensor_files
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.tensor_files import LazyTensor, wrap_tensor

if TYPE_CHECKING:
    import torch

AdapterFormat = Literal["peft", "stable-audio-tools"]
BaseTensors = Mapping[str, LazyTensor]

_PEFT_CONFIG, _PEFT_WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
_PEFT_ROOT, _SLOT = "base_model.model.", ".parametrizations.weight.0."
_PEFT_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?")
_UPSTREAM_NAME = re.compile(r"(.+)\.parametrizations\.weight\.0\.(lora_A|lora_B|M_xs|magnitude|magnitude_r|magnitude_c)")
_ROOTS = ("", "model.", "model.model.", "conditioner.")  # what an adapter's layer names may begin behind
_MERGE_CURE = "merge it into its base where it was made, and adopt the whole checkpoint (`audiotune adopt`)"


@dataclass(frozen=True)
class ForeignAdapter:
    """An adapter as another program wrote it, by the layers of our base.

    Attributes:
        program: "peft", "stable-audio-tools", or "audio-tune" for a file of our own.
        metadata: of the file, for what our own export wrote into it.
    """

    program: str
    weights: LoraWeights
    metadata: Mapping[str, str]


def read_foreign_adapter(path: Path, base: BaseTensors) -> ForeignAdapter:
    """An adapter of another program, in fp32.

    Args:
        path: a folder of peft; or a .safetensors, .ckpt, .pt or .bin file of stable-audio-tools.
        base: the tensors of the model it was tuned from.

    Raises:
        ModelError: no adapter, a kind that is not kept as matrices, or layers that the base does not have.
    """
    if path.is_dir() or path.name in _PEFT_WEIGHTS:
        return _read_peft(path if path.is_dir() else path.parent, base)
    tensors, metadata, config = _read_file(path)
    if is_adapter_file({name: wrap_tensor(tensor) for name, tensor in tensors.items()}) and "scale" in metadata:
        whole = {name: wrap_tensor(tensor.float()) for name, tensor in tensors.items()}
        return ForeignAdapter("audio-tune", LoraWeights.from_tensors(whole, float(metadata["scale"])), metadata)
    return ForeignAdapter("stable-audio-tools", _read_upstream(path, tensors, config, base), metadata)


def is_foreign_adapter(path: Path) -> bool:
    """Whether a folder or a file holds an adapter and not a whole model. Raises ModelError: it cannot be read."""
    if path.is_dir():
        return True
    if path.suffix == ".safetensors":
        with tensor_files.open_tensors(path) as tensors:
            names = set(tensors)
    else:
        kept = map_torch_file(path)
        names = set(map(str, kept.get("state_dict", kept)))
    return any(".lora_A" in name or ".M_xs" in name for name in names)


def _read_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str], dict[str, Any]]:
    """Tensors, metadata, and stable-audio-tools' `lora_config`."""
    if not path.is_file():
        raise ModelError("no such adapter", where=str(path), cure="name a folder of peft, or a .safetensors or .ckpt file")
    if path.suffix == ".safetensors":
        metadata = tensor_files.read_metadata(path)
        try:
            config = json.loads(metadata.get("lora_config", "{}"))
        except ValueError as e:
            raise ModelError(f"its lora_config is no JSON: {e}", where=str(path), cure="export it again") from e
        return tensor_files.read_tensors(path), metadata, config if isinstance(config, dict) else {}
    kept = map_torch_file(path)
    state, config = kept.get("state_dict", kept), kept.get("lora_config", {})
    tensors = {str(name): tensor for name, tensor in state.items() if hasattr(tensor, "shape")} if isinstance(state, dict) else {}
    return tensors, {}, config if isinstance(config, dict) else {}


def _read_upstream(path: Path, tensors: Mapping[str, Any], config: Mapping[str, Any], base: BaseTensors) -> LoraWeights:
    parts = _sort_by_layer(path, tensors, _UPSTREAM_NAME, base)
    kind = str(config.get("adapter_type", "lora"))
    ranks = {len(part["lora_A" if "lora_A" in part else "M_xs"]) for part in parts.values()}
    rank = float(config.get("rank", min(ranks)))
    scale = float(config.get("alpha", rank)) / rank
    for layer, part in parts.items():
        if "M_xs" in part:
            part |= _expand_core(part.pop("M_xs"), base[f"{layer}.weight"].load())
    return _build_weights(path, kind, {layer: (part, scale) for layer, part in parts.items()}, base)


def _expand_core(core: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """LoRA-XS (Balazy et al. 2024): U M V^T with the first singular vectors of the weight, their signs fixed as stable-audio-tools does."""
    import torch

    rank = len(core)
    u, _, v = torch.linalg.svd(weight.flatten(1).float(), full_matrices=False)
    signs = u[u.abs().argmax(dim=0), torch.arange(u.shape[1])].sign()
    signs[signs == 0] = 1
    u, v = u * signs, v * signs[:, None]
    return {"lora_A": v[:rank], "lora_B": u[:, :rank] @ core.float()}


def _read_peft(folder: Path, base: BaseTensors) -> ForeignAdapter:
    file = next((folder / name for name in _PEFT_WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise ModelError(f"no {_PEFT_WEIGHTS[0]} in this folder", where=str(folder), cure="name the folder that peft wrote")
    try:
        config = json.loads((folder / _PEFT_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"cannot read {_PEFT_CONFIG}: {e}", where=str(folder), cure="bring it from where peft wrote it") from e
    _require_plain_config(folder, config)
    tensors, metadata, _ = _read_file(file)
    parts = _sort_by_layer(file, tensors, _PEFT_NAME, base)
    scaled = {layer: (part, _read_peft_scale(config, layer, len(part["lora_A"]))) for layer, part in parts.items()}
    kind = "dora" if config.get("use_dora") else "lora"
    return ForeignAdapter("peft", _build_weights(file, kind, scaled, base), metadata)


def _require_plain_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises ModelError for what changes more than `W + s B A`."""
    kind = str(config.get("peft_type", "LORA"))
    others = [name for name in ("fan_in_fan_out", "lora_bias", "modules_to_save", "use_qalora", "use_bdlora") if config.get(name)]
    start = config.get("init_lora_weights", True)
    if kind != "LORA":
        raise ModelError(f"peft's {kind} is not read, only LoRA and DoRA", where=str(folder), cure=_MERGE_CURE)
    if others or config.get("bias", "none") != "none":
        raise ModelError(f"its {', '.join(others) or 'bias'} is not read", where=str(folder), cure=_MERGE_CURE)
    if str(start).lower().startswith(("pissa", "olora", "loftq", "corda")):
        cure = "save it with path_initial_model_for_weight_conversion, which makes a plain LoRA of it"
        raise ModelError(f"{start} has changed the base's own weights", where=str(folder), cure=cure)


def _read_peft_scale(config: Mapping[str, Any], layer: str, rank: int) -> float:
    alpha = config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            alpha = value
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _sort_by_layer(
    path: Path, tensors: Mapping[str, Any], pattern: re.Pattern[str], base: BaseTensors
) -> dict[str, dict[str, torch.Tensor]]:
    """Layer of the base -> its parts. Raises ModelError for a tensor that is no part of an adapter."""
    layers = {name.removesuffix(".weight") for name in base if name.endswith(".weight")}
    sorted_: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = pattern.fullmatch(name)
        if match is None:
            cure = "name a LoRA of stable-audio-tools or a folder of peft; a whole checkpoint is for `audiotune adopt`"
            raise ModelError(f"{name!r} is no part of an adapter", where=str(path), cure=cure)
        layer = _find_layer(path, match.group(1), layers)
        sorted_.setdefault(layer, {})[match.group(2).replace("lora_magnitude_vector", "magnitude")] = tensor
    whole = [part for part in sorted_.values() if {"lora_A", "lora_B"} <= part.keys() or "M_xs" in part]
    if not sorted_ or len(whole) != len(sorted_):
        raise ModelError("there are not two matrices for each layer", where=str(path), cure="export the adapter again")
    return sorted_


def _find_layer(path: Path, name: str, layers: set[str]) -> str:
    found = next((root + name for root in _ROOTS if root + name in layers), "")
    if not found:
        what = f"an adapter for {name!r}, which the base does not have"
        raise ModelError(what, where=str(path), cure="name the base it was tuned from")
    return found


def _build_weights(
    path: Path, kind: str, scaled: Mapping[str, tuple[Mapping[str, torch.Tensor], float]], base: BaseTensors
) -> LoraWeights:
    """One scale for all layers: where they differ, each is multiplied into B."""
    if kind.startswith("bora") or kind.startswith("dora-cols"):
        raise ModelError(f"an adapter of kind {kind} is not kept as matrices", where=str(path), cure=_MERGE_CURE)
    scales = {scale for _, scale in scaled.values()}
    common = scales.pop() if len(scales) == 1 else 1.0
    pairs, magnitudes = {}, {}
    for layer, (part, scale) in scaled.items():
        rows = base[f"{layer}.weight"].shape[0]
        a, b = (part[name].float().flatten(1) for name in ("lora_A", "lora_B"))
        pairs[layer] = (wrap_tensor(a), wrap_tensor(b if scale == common else b * scale))
        if (a.shape[1], b.shape[0]) != (math.prod(base[f"{layer}.weight"].shape[1:]), rows) or len(a) != b.shape[1]:
            raise ModelError(f"its matrices do not fit {layer!r}", where=str(path), cure="name the base it was tuned from")
        if "magnitude" in part:
            magnitude = part["magnitude"]
            if magnitude.numel() != rows or (magnitude.ndim == 2 and len(magnitude) == 1):  # [1, in] in upstream's older files
                raise ModelError("its magnitudes belong to the columns (dora-cols)", where=str(path), cure=_MERGE_CURE)
            magnitudes[layer] = wrap_tensor(magnitude.float().flatten())
    if magnitudes and len(magnitudes) != len(pairs):
        raise ModelError("only some layers have magnitudes", where=str(path), cure="export the adapter again")
    return LoraWeights(pairs, common, magnitudes)


def write_foreign_adapter(
    weights: LoraWeights, base: BaseTensors, to: Path, program: AdapterFormat, metadata: Mapping[str, str]
) -> Path:
    """Writes an adapter as another program reads it: a folder for peft, a .safetensors file for stable-audio-tools.

    Args:
        base: the tensors of the base, for the shapes of its layers.
        metadata: what is kept in the file besides, such as its licence.
    """
    if program == "peft":
        return _write_peft(weights, base, to, metadata)
    rank = max(a.shape[0] for a, _ in weights.pairs.values())
    tensors: dict[str, LazyTensor] = {}
    names: list[str] = []
    for layer, (a, b) in weights.pairs.items():
        names.append(layer.partition(".")[2])  # upstream applies adapters to the diffusion model and to the conditioner apart
        pair = _pad_rank(a.load().flatten(1), b.load().flatten(1), rank)
        parts = dict(zip(("lora_A", "lora_B"), pair))
        if layer in weights.magnitudes:
            parts["magnitude"] = weights.magnitudes[layer].load()
        tensors |= {f"{names[-1]}{_SLOT}{part}": wrap_tensor(tensor) for part, tensor in parts.items()}
    kind = "dora-rows" if weights.kind == "dora" else "lora"
    config = {"rank": rank, "alpha": weights.scale * rank, "adapter_type": kind, "include": sorted(names)}
    path = to if to.suffix == ".safetensors" else to.with_name(f"{to.name}.safetensors")
    return tensor_files.write_tensors(path, tensors, {**metadata, "lora_config": json.dumps(config)})


def _write_peft(weights: LoraWeights, base: BaseTensors, folder: Path, metadata: Mapping[str, str]) -> Path:
    ranks = {layer: a.shape[0] for layer, (a, _) in weights.pairs.items()}
    rank = max(ranks.values())
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": weights.scale * rank,
        "rank_pattern": {re.escape(layer): own for layer, own in ranks.items() if own != rank},
        "alpha_pattern": {re.escape(layer): weights.scale * own for layer, own in ranks.items() if own != rank},
        "use_dora": weights.kind == "dora",
        "target_modules": sorted(ranks),
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    tensors: dict[str, LazyTensor] = {}
    for layer, (a, b) in weights.pairs.items():
        rows, columns, *width = base[f"{layer}.weight"].shape
        name, ones = f"{_PEFT_ROOT}{layer}", (1,) * len(width)
        tensors[f"{name}.lora_A.weight"] = wrap_tensor(a.load().reshape(-1, columns, *width))
        tensors[f"{name}.lora_B.weight"] = wrap_tensor(b.load().reshape(rows, -1, *ones))
        if layer in weights.magnitudes:
            magnitude = weights.magnitudes[layer].load()
            tensors[f"{name}.lora_magnitude_vector"] = wrap_tensor(magnitude.view(1, -1, *ones) if width else magnitude)
    folder.mkdir(parents=True, exist_ok=True)
    tensor_files.write_tensors(folder / _PEFT_WEIGHTS[0], tensors, {**metadata, "format": "pt"})
    write_atomic_file(folder / _PEFT_CONFIG, json.dumps(config, indent=1) + "\n")
    return folder


def _pad_rank(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same product with as many rows of A and columns of B as the largest layer: upstream knows one rank."""
    from torch.nn.functional import pad

    return pad(a, (0, 0, 0, rank - len(a))), pad(b, (0, rank - b.shape[1]))
