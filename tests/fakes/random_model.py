"""A random, very small model of upstream's own parts, for tests of training, unwrapping and serving."""

from __future__ import annotations

from typing import Any

from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio

_WIDTH, _LATENTS = 64, 8


def make_random_config(objective: str = "v") -> dict[str, Any]:
    """Oobleck autoencoder and DiT at 16 kHz, mono, one second, about 0.7 M parameters; the tokenizer is the tiny base's."""
    blocks = {"channels": 8, "c_mults": [1, 2, 4], "strides": [4, 8, 8], "use_snake": True}
    autoencoder = {
        "encoder": {"type": "oobleck", "config": {"in_channels": 1, "latent_dim": 2 * _LATENTS, **blocks}},
        "decoder": {"type": "oobleck", "config": {"out_channels": 1, "latent_dim": _LATENTS, "final_tanh": False, **blocks}},
        "bottleneck": {"type": "vae"},
        "latent_dim": _LATENTS,
        "downsampling_ratio": 256,
        "io_channels": 1,
    }
    prompt = {"id": "prompt", "type": "lut", "config": {"tokenizer_name": "tokenizer", "max_length": 24}}
    seconds = {"id": "seconds_total", "type": "number", "config": {"min_val": 0, "max_val": 4}}
    transformer = {
        "io_channels": _LATENTS,
        "embed_dim": _WIDTH,
        "depth": 3,
        "num_heads": 2,
        "cond_token_dim": _WIDTH,
        "global_cond_dim": _WIDTH,
        "project_cond_tokens": False,
        "transformer_type": "continuous_transformer",
    }
    return {
        "model_type": "diffusion_cond",
        "sample_size": 16384,
        "sample_rate": 16000,
        "audio_channels": 1,
        "model": {
            "pretransform": {"type": "autoencoder", "iterate_batch": True, "config": autoencoder},
            "conditioning": {"configs": [prompt, seconds], "cond_dim": _WIDTH},
            "diffusion": {
                "cross_attention_cond_ids": ["prompt", "seconds_total"],
                "global_cond_ids": ["seconds_total"],
                "type": "dit",
                "diffusion_objective": objective,
                "config": transformer,
            },
            "io_channels": _LATENTS,
        },
    }


def make_random_model(seed: int = 0, objective: str = "v", config: dict[str, Any] | None = None) -> StableAudio:
    """That model with random weights of `seed`; leaves torch's global generator as it was.

    Branches that upstream starts at zero get small random weights, so that prompts matter to an untrained model.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = load_model(config or make_random_config(objective))
        for parameter in made.model.model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(0, 0.05)
    return made
