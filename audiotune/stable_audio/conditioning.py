"""Conditioning tensors of prompts and lengths, and operations on their rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from audiotune.stable_audio.model import StableAudio

Conditioning = dict[str, list[Any]]  # id of a conditioner -> [embedding [rows, ...], mask [rows, ...] or None]


def embed_prompts(sa: StableAudio, prompts: Sequence[str], seconds: Sequence[float]) -> Conditioning:
    """Conditioning tensors as stable-audio-tools' conditioner returns them, one row a prompt.

    Args:
        prompts: words; "" is allowed.
        seconds: length of the whole sound in seconds; `seconds_start` is 0.
    """
    import torch

    rows = [{"prompt": p, "seconds_start": 0, "seconds_total": float(s)} for p, s in zip(prompts, seconds, strict=True)]
    with torch.no_grad():
        tensors = sa.model.conditioner(rows, sa.device)
    return {key: [value[0], value[1]] for key, value in tensors.items()}


def take_row(cond: Mapping[str, Sequence[Any]], index: int) -> Conditioning:
    """One row, still with its batch dimension."""
    return {key: [None if t is None else t[index : index + 1] for t in value] for key, value in cond.items()}


def stack_rows(conds: Sequence[Mapping[str, Sequence[Any]]]) -> Conditioning:
    """Several conditionings concatenated along the batch dimension."""
    import torch

    return {
        key: [None if tensor is None else torch.cat([c[key][i] for c in conds]) for i, tensor in enumerate(tensors)]
        for key, tensors in conds[0].items()
    }
