"""LoRA (Hu et al. 2021), rsLoRA (Kalajdzievski 2023) and DoRA (Liu et al. 2024) for layers of the diffusion transformer, by peft.

The conditioners get none: on small datasets an adapted embedding of seconds would learn to recognise single recordings by their
length, and the model would ignore the words.
"""

import re
from typing import Any

from torch import nn

from audiotune.errors import ModelError
from audiotune.stable_audio.weight_merging import LoraWeights
from components.finetune.settings import Settings

_GROUPS = {"blocks": (".layers.",), "attention": (".self_attn.", ".cross_attn."), "feed_forward": (".ff.",), "all": ("",)}
_PREFIX = "model."  # of layers of the diffusion model in a whole model's state dict
_PARTS = (".lora_A", ".lora_B", ".magnitude")


def add_adapters(diffusion: nn.Module, settings: Settings, start: LoraWeights | None = None) -> None:
    """Adds adapters to layers of the transformer.

    Args:
        start: an adapter to begin with; kind, rank, scale and layers are then its own. Its layers of conditioners are left out.

    Raises:
        ModelError: no layer of the model is meant, or the start does not fit.
    """
    from peft import LoraConfig, inject_adapter_in_model

    chosen: dict[str, Any] = {"lora_dropout": settings.lora_dropout, "bias": "none"}
    if start is None:
        chosen |= {
            "r": settings.lora_rank,
            "lora_alpha": settings.lora_alpha,
            "use_rslora": settings.lora_kind == "rslora",
            "use_dora": settings.lora_kind == "dora",
            "target_modules": select_layers(diffusion, settings.lora_layers),
        }
    else:
        ranks = _list_ranks(diffusion, start)
        chosen |= {
            "rank_pattern": {re.escape(layer): rank for layer, rank in ranks.items()},
            "alpha_pattern": {re.escape(layer): start.scale * rank for layer, rank in ranks.items()},
            "use_dora": start.kind == "dora",
            "target_modules": list(ranks),
        }
    inject_adapter_in_model(LoraConfig(**chosen), diffusion)
    if start is not None:
        _copy_start(diffusion, start)


def select_layers(diffusion: nn.Module, words: str) -> list[str]:
    """The linear layers that words mean: groups, or parts of layers' names. Raises ModelError, with the names there are."""
    linear = [name for name, module in diffusion.named_modules() if isinstance(module, nn.Linear)]
    if not any(".layers." in name for name in linear):
        raise ModelError("the model has no transformer blocks to adapt", cure="set mode to full")
    found: set[str] = set()
    for word in filter(None, (part.strip() for part in words.split(","))):
        meant = {name for name in linear if any(part in name for part in _GROUPS.get(word, (word,)))}
        if not meant:
            kinds = sorted({re.sub(r"\d+", "*", name) for name in linear})
            cure = f"take {', '.join(_GROUPS)}, or a part of: {', '.join(kinds[:20])}"
            raise ModelError(f"lora_layers: no linear layer of this model is meant by {word!r}", cure=cure)
        found |= meant
    return [name for name in linear if name in found]


def describe_adapters(settings: Settings, start: LoraWeights | None) -> dict[str, float]:
    """Rank, alpha and scale of the adapters, for the checkpoint."""
    if start is not None:
        rank = max(a.shape[0] for a, _ in start.pairs.values())
        return {"rank": rank, "alpha": start.scale * rank, "scale": start.scale}
    rank, alpha = settings.lora_rank, settings.lora_alpha
    return {"rank": rank, "alpha": alpha, **({"scale": alpha / rank**0.5} if settings.lora_kind == "rslora" else {})}


def remove_peft_affixes(name: str) -> str:
    """A parameter's name as in stable-audio-tools' state dict; adapters are `<layer>.lora_A`, `.lora_B` and `.magnitude`."""
    plain = name.replace(".base_layer.", ".").removesuffix(".default.weight")
    return plain.removesuffix(".lora_magnitude_vector") + ".magnitude" if plain.endswith(".lora_magnitude_vector") else plain


def is_adapter_name(name: str) -> bool:
    return remove_peft_affixes(name).endswith(_PARTS)


def list_trained_layers(start: LoraWeights) -> list[str]:
    """The layers of a start that training goes on with, by their names in the diffusion model."""
    return [layer.removeprefix(_PREFIX) for layer in start.pairs if layer.startswith(_PREFIX)]


def _list_ranks(diffusion: nn.Module, start: LoraWeights) -> dict[str, int]:
    layers, modules = list_trained_layers(start), dict(diffusion.named_modules())
    missing = [layer for layer in layers if layer not in modules]
    if missing or not layers:
        what = f"lora_start has no layer of this model{f', the first is {missing[0]!r}' if missing else ''}"
        raise ModelError(what, cure="start from an adapter of the same base")
    return {layer: start.pairs[_PREFIX + layer][0].shape[0] for layer in layers}


def _copy_start(diffusion: nn.Module, start: LoraWeights) -> None:
    import torch

    named = {remove_peft_affixes(name): parameter for name, parameter in diffusion.named_parameters()}
    with torch.no_grad():
        for layer in list_trained_layers(start):
            a, b = start.pairs[_PREFIX + layer]
            tensors = {".lora_A": a, ".lora_B": b}
            if start.magnitudes:
                tensors[".magnitude"] = start.magnitudes[_PREFIX + layer]
            for part, tensor in tensors.items():
                parameter = named[layer + part]
                parameter.data = tensor.load().view(parameter.shape).to(parameter.device)  # fp32, also beside a base in bf16
