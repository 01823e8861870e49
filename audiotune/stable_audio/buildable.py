"""Whether a base's config can be built here: asked before its weights are fetched, which are gigabytes."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

from audiotune.errors import ModelError
from audiotune.stable_audio.local_parts import require_allowed_types

_FROM_FILES = ("t5", "t5gemma", "lut")  # conditioners that read files of their own; they are checked when these are there


def check_buildable(config: dict[str, Any], where: str) -> None:
    """Builds the model of a config without memory, with a number in place of its text encoder.

    Where stable-audio-tools is not installed, as in the light image, only the types of the parts are looked at.

    Raises:
        ModelError: a part of a type that is not allowed, an unknown objective, or a config that stable-audio-tools cannot build.
    """
    from audiotune.stable_audio.objective import is_rectified_flow

    require_allowed_types(config, where)
    if not str(config.get("model_type", "")).startswith("diffusion_cond"):
        raise ModelError("the config is not of a text-conditioned diffusion model", where=where, cure="name another base")
    is_rectified_flow(config.get("model", {}).get("diffusion", {}).get("diffusion_objective", "v"))
    if importlib.util.find_spec("stable_audio_tools"):
        _build_without_memory(config, where)


def _build_without_memory(config: dict[str, Any], where: str) -> None:
    import torch

    from audiotune.stable_audio.fake_gpu import GPU, imitate_gpu
    from audiotune.stable_audio.load import build_bare_model

    bare = copy.deepcopy(config)
    for conditioner in bare.get("model", {}).get("conditioning", {}).get("configs", []):
        if conditioner.get("type") in _FROM_FILES:
            conditioner.update(type="number", config={"min_val": 0, "max_val": 1})
    with imitate_gpu(), torch.device(GPU):
        build_bare_model(bare, Path(where))
