"""The shapes of bases that a plan may ask about before their files are here: their published configs, as far as shapes depend on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audiotune.errors import ModelError
from audiotune.stable_audio.base_index import choose_index_name, read_base_index
from audiotune.stable_audio.base_models import find_shipped_folder
from audiotune.stable_audio.known_bases import find_known_base
from audiotune.stable_audio.model_folder import CONFIG
from audiotune.store.port import Store


def read_base_config(name: str, store: Store | None = None) -> tuple[dict[str, Any], Path]:
    """A base's config, and the folder of its tokenizer: of a folder, the store's copy, the shipped base, or a known shape.

    Raises:
        ModelError: its config is not here, and its shape is not known.
    """
    for folder in (Path(name), find_shipped_folder() / name):
        if (folder / CONFIG).is_file():
            return json.loads((folder / CONFIG).read_text(encoding="utf-8")), folder
    index = None if store is None else read_base_index(store, choose_index_name(name))
    if index is not None and store is not None and CONFIG in index.files:
        return json.loads(store.get(index.files[CONFIG])), find_shipped_folder() / "tiny"
    known = find_known_base(name)
    shape = _SHAPES.get(known.name if known else name)
    if shape is None:
        cure = f"fetch it first (audiotune base fetch {name[:80]}), or name one of {', '.join(_SHAPES)}"
        raise ModelError(f"the shape of {name[:100]!r} is not known before it is here", cure=cure)
    return shape, find_shipped_folder() / "tiny"


def _describe_autoencoder() -> dict[str, Any]:
    blocks = {"channels": 128, "c_mults": [1, 2, 4, 8, 16], "strides": [2, 4, 4, 8, 8], "use_snake": True}
    return {
        "type": "autoencoder",
        "iterate_batch": True,
        "config": {
            "encoder": {"type": "oobleck", "config": {"in_channels": 2, "latent_dim": 128, **blocks}},
            "decoder": {"type": "oobleck", "config": {"out_channels": 2, "latent_dim": 64, "final_tanh": False, **blocks}},
            "bottleneck": {"type": "vae"},
            "latent_dim": 64,
            "downsampling_ratio": 2048,
            "io_channels": 2,
        },
    }


def _describe_base(
    sample_size: int, numbers: dict[str, int], words: int, diffusion: dict[str, Any], transformer: dict[str, Any]
) -> dict[str, Any]:
    """A base of 44.1 kHz with T5 and the autoencoder of Stable Audio Open.

    Args:
        numbers: conditioner of seconds -> largest value.
        words: tokens of a prompt.
    """
    text = {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base", "max_length": words}}
    seconds = [{"id": name, "type": "number", "config": {"min_val": 0, "max_val": most}} for name, most in numbers.items()]
    sizes = {"io_channels": 64, "cond_token_dim": 768, "global_cond_dim": 768 * len(numbers), "project_cond_tokens": False}
    return {
        "model_type": "diffusion_cond",
        "sample_size": sample_size,
        "sample_rate": 44100,
        "audio_channels": 2,
        "model": {
            "pretransform": _describe_autoencoder(),
            "conditioning": {"configs": [text, *seconds], "cond_dim": 768},
            "diffusion": {
                "type": "dit",
                "cross_attention_cond_ids": ["prompt", *numbers],
                "global_cond_ids": list(numbers),
                "config": {**sizes, "transformer_type": "continuous_transformer", **transformer},
                **diffusion,
            },
            "io_channels": 64,
        },
    }


_OPEN = _describe_base(
    2097152,
    {"seconds_start": 512, "seconds_total": 512},
    128,
    {"diffusion_objective": "v"},
    {"embed_dim": 1536, "depth": 24, "num_heads": 24},
)
_SMALL: dict[str, Any] = _describe_base(
    524288,
    {"seconds_total": 256},
    64,
    {"diffusion_objective": "rectified_flow", "distribution_shift_options": {"min_length": 256, "max_length": 4096}},
    {"embed_dim": 1024, "depth": 16, "num_heads": 8, "attn_kwargs": {"qk_norm": "ln"}},
)
_SHAPES = {
    "stable-audio-open-1.0": _OPEN,
    "stable-audio-open-small-base": _SMALL,
    "stable-audio-open-small": {
        **_SMALL,
        "model": {**_SMALL["model"], "diffusion": {**_SMALL["model"]["diffusion"], "diffusion_objective": "rf_denoiser"}},
    },
}
