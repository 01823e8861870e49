"""Stable Audio 3 in its true shape and very small, with random weights and a T5Gemma encoder of random weights: for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LATENTS, WIDTH = 16, 64
ENCODER_WIDTH = 768  # stable-audio-tools builds no other T5Gemma
_PROMPT = {"id": "prompt", "type": "t5gemma"}


def make_small_config(objective: str = "rectified_flow") -> dict[str, Any]:
    """The published config of stable-audio-3-small-music-base with fewer layers and channels, 4096 samples a latent frame."""
    resampling = {
        "c_mults": [2], "channels": 32, "strides": [16], "transformer_depths": [2], "chunk_size": 32, "chunk_midpoint_shift": True,
        "differential": True, "dim_heads": 32, "dyt": True, "variable_stride": True, "latent_dim": LATENTS, "mapping_style": "none",
    }  # fmt: skip
    autoencoder = {
        "encoder": {"type": "taae_v2", "requires_grad": False, "config": {"in_channels": 512, "mask_noise": 0.0, **resampling}},
        "decoder": {
            "type": "taae_v2",
            "requires_grad": False,
            "config": {"out_channels": 512, "mask_noise": 0.01, "conv_mapping": True, "sinusoidal_blocks": [0], **resampling},
        },
        "bottleneck": {
            "type": "softnorm",
            "requires_grad": False,
            "config": {"auto_scale": True, "dim": LATENTS, "freeze": True, "noise_augment_dim": 0, "noise_regularize": True},
        },
        "pretransform": {"type": "patched", "config": {"channels": 2, "patch_size": 256}},
        "latent_dim": LATENTS,
        "downsampling_ratio": 4096,
        "io_channels": 2,
    }
    words = {"max_length": 16, "padding_mode": "learned", "repo_id": "stabilityai/x", "subfolder": "t5gemma-b-b-ul2"}
    seconds = {"fourier_features_type": "expo", "min_val": 0, "max_val": 384}
    transformer = {
        "io_channels": LATENTS, "embed_dim": WIDTH, "depth": 2, "num_heads": 2, "cond_token_dim": ENCODER_WIDTH,
        "global_cond_dim": ENCODER_WIDTH, "global_cond_type": "adaLN", "local_add_cond_dim": LATENTS + 1, "num_memory_tokens": 4,
        "norm_type": "rms_norm", "norm_kwargs": {"force_fp32": True}, "attn_kwargs": {"differential": False, "qk_norm": "rms"},
        "ff_kwargs": {"mult": 2.0}, "timestep_features_type": "expo", "timestep_features_logsnr": False,
    }  # fmt: skip
    return {
        "model_type": "diffusion_cond_inpaint",
        "sample_size": 64 * 4096,
        "sample_rate": 44_100,
        "audio_channels": 2,
        "model": {
            "pretransform": {"type": "autoencoder", "chunked": True, "iterate_batch": False, "config": autoencoder},
            "conditioning": {
                "cond_dim": ENCODER_WIDTH,
                "configs": [{**_PROMPT, "config": words}, {"id": "seconds_total", "type": "number", "config": seconds}],
            },
            "diffusion": {
                "type": "dit",
                "diffusion_objective": objective,
                "cross_attention_cond_ids": ["prompt", "seconds_total"],
                "global_cond_ids": ["seconds_total"],
                "local_add_cond_ids": ["inpaint_mask", "inpaint_masked_input"],
                "distribution_shift_options": {"type": "full", "min_length": 256, "max_length": 4096},
                "mask_padding_attention": True,
                "use_effective_length_for_schedule": True,
                "config": transformer,
            },
            "io_channels": LATENTS,
        },
    }


def write_small_base(folder: Path, objective: str = "rectified_flow") -> Path:
    """The base's folder, as it is mirrored: config, weights and text encoder."""
    import torch

    from audiotune.stable_audio.load import load_model
    from audiotune.store import tensor_files

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_config.json").write_text(json.dumps(make_small_config(objective)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _write_encoder(folder / "text_encoder" / "t5gemma-b-b-ul2")
        model = load_model(folder / "model_config.json").model
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(0, 0.05)
    state = {name: tensor_files.wrap_tensor(tensor) for name, tensor in model.state_dict().items()}
    tensor_files.write_tensors(folder / "model.safetensors", state)
    return folder


def _write_encoder(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5GemmaConfig, T5GemmaForConditionalGeneration

    words = {
        word: place
        for place, word in enumerate(
            ["<pad>", "<eos>", "<bos>", "<unk>", "low", "high", "dark", "bright", "drone", "pluck", "pulse"]
        )
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    side = {
        "vocab_size": len(words), "hidden_size": ENCODER_WIDTH, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
    }  # fmt: skip
    T5GemmaForConditionalGeneration(T5GemmaConfig(encoder=dict(side), decoder=dict(side), vocab_size=len(words))).save_pretrained(
        folder
    )
