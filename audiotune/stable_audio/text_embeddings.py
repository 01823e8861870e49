"""Embeddings of prompts by the base model's text conditioner, stored in files, so that each is computed once.

Only embeddings of words are stored; those of seconds are cheap and depend on the sound. Rows after the last word are zeros in
every conditioner that masks (T5, table); files omit them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiotune.stable_audio.conditioning import Conditioning, embed_prompts, take_row
from audiotune.stable_audio.model import StableAudio
from audiotune.store import tensor_files
from audiotune.store.port import Store

WORD_CONDITIONERS = ("t5", "t5gemma", "lut", "clap_text", "phoneme")
TABLES = ("lut", "phoneme")  # lookup tables: cheap to compute, and new words must be trained


def find_word_conditioners(config: dict[str, Any]) -> dict[str, str]:
    """Id -> type of the conditioners in a model config that read words."""
    configs = config["model"].get("conditioning", {}).get("configs", [])
    return {x["id"]: x["type"] for x in configs if x["type"] in WORD_CONDITIONERS}


def store_embeddings(store: Store, sa: StableAudio, prompts: Sequence[str]) -> list[str]:
    """Embeds prompts and stores one safetensors blob for each; returns their keys."""
    ids = find_word_conditioners(sa.config)
    words = {id: value for id, value in embed_prompts(sa, prompts, [1.0] * len(prompts)).items() if id in ids}
    return [tensor_files.store_tensors(store, _trim_padding(take_row(words, i))) for i in range(len(prompts))]


def read_embedding(path: Path) -> Conditioning:
    """One prompt's conditioning, with its batch dimension of 1: id -> [embedding [1, tokens, width], mask [1, tokens]]."""
    import torch

    kept = tensor_files.read_tensors(path)
    cond: Conditioning = {}
    for name in (name for name in kept if name.endswith(".embedding")):
        key = name.removesuffix(".embedding")
        short, mask = kept[name], kept.get(f"{key}.mask")
        length = int(kept[f"{key}.tokens"]) if f"{key}.tokens" in kept else short.shape[1]
        whole = torch.zeros(1, length, *short.shape[2:], dtype=short.dtype)
        whole[:, : short.shape[1]] = short
        cond[key] = [whole, mask]
    return cond


def _trim_padding(cond: Conditioning) -> dict[str, tensor_files.LazyTensor]:
    import torch

    kept = {}
    for key, (embedding, mask) in cond.items():
        whole = embedding.detach().cpu().contiguous()
        used = torch.nonzero(whole.abs().sum(dim=(0, 2))) if whole.ndim == 3 else None
        short = whole if used is None else whole[:, : int(used.max()) + 1 if len(used) else 1]
        kept[f"{key}.embedding"] = tensor_files.wrap_tensor(short.contiguous())
        if mask is not None:
            kept[f"{key}.mask"] = tensor_files.wrap_tensor(mask.detach().cpu())
        if whole.ndim == 3:
            kept[f"{key}.tokens"] = tensor_files.wrap_tensor(torch.tensor(whole.shape[1]))
    return kept
