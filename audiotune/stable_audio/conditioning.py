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


def add_inpainting(config: Mapping[str, Any], cond: Conditioning, latents: Any, given: Any = None) -> Conditioning:
    """The conditioning with what a base that inpaints wants to know as well: which latents are given, and these.

    Args:
        latents: [rows, channels, frames]; of what is not given only the shape matters.
        given: [rows, 1, frames], 1 where they are given; None where all is made anew.
    """
    diffusion = config["model"].get("diffusion", {})
    wanted = {*diffusion.get("local_add_cond_ids", ()), *diffusion.get("input_concat_ids", ())}
    if not wanted & {"inpaint_mask", "inpaint_masked_input"}:
        return cond
    mask = latents.new_zeros(len(latents), 1, latents.shape[-1]) if given is None else given
    return {**cond, "inpaint_mask": [mask, None], "inpaint_masked_input": [latents * mask, None]}


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
