"""Adapters in other programs' formats, applied and trained by these programs themselves: stable-audio-tools 0.0.20 and peft."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import Any

from audiotune.audio.sound import Sound
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

ASK = SamplingRequest("low drone", seconds=0.9, steps=6, guidance=1.0, seed=7)


def add_upstream_lora(sa: StableAudio, config: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """Adds upstream's own LoRA to a model, as its training wrapper does, with matrices as if it had learned; returns its state dict."""
    import torch
    from stable_audio_tools.models import lora

    rank, alpha, kind = config["rank"], config.get("alpha", config["rank"]), config.get("adapter_type", "lora")
    made = {"rank": rank, "lora_alpha": alpha, "adapter_type": kind}
    layers = {
        torch.nn.Linear: {"weight": partial(lora.LoRAParametrization.from_linear, **made)},
        torch.nn.Conv1d: {"weight": partial(lora.LoRAParametrization.from_conv1d, **made)},
    }
    parts = (sa.model.model, sa.model.conditioner)
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in parts:
            lora.add_lora(part, layers, include=config.get("include"), exclude=config.get("exclude"))
    for part in parts:
        for name, parameter in part.named_parameters():
            if name.endswith((".lora_B", ".M_xs")):
                parameter.data.normal_(0, 0.5, generator=draw)
            elif name.rpartition(".")[2].startswith("magnitude"):
                parameter.data.mul_(1 + 0.2 * torch.rand(parameter.shape, generator=draw))
    return {**lora.get_lora_state_dict(parts[0]), **lora.get_lora_state_dict(parts[1])}


def load_with_upstream(sa: StableAudio, *paths: Path) -> StableAudio:
    """The model with adapter files attached by upstream's own loader."""
    from stable_audio_tools.models.lora import load_and_apply_loras

    with contextlib.redirect_stdout(io.StringIO()):
        load_and_apply_loras(sa.model, [str(path) for path in paths], sa.config["model_type"])
    return sa


def make_sound(sa: StableAudio, request: SamplingRequest = ASK) -> Sound:
    return generate_sounds(sa, [request])[0]


def difference(one: Sound, other: Sound) -> float:
    """Largest difference of two sounds against the louder one's peak."""
    import numpy as np

    peak = max(float(np.abs(one.data).max()), float(np.abs(other.data).max()))
    return float(np.abs(one.data - other.data).max()) / peak
