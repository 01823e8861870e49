"""How a base is sampled when nobody says otherwise: steps, guidance, sampler, noise levels, length.

They come, in this order, from the key `generation` of a model's config (releases carry it), from the table of known bases, from the
config's own demos (`training.demo`), and from its objective. Imports neither torch nor stable_audio_tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from audiotune.errors import ModelError
from audiotune.stable_audio.known_bases import GenerationDefaults, find_known_base
from audiotune.stable_audio.objective import DISTILLED, is_rectified_flow

GENERATION = "generation"  # key of a model config


_BY_OBJECTIVE = {"v": GenerationDefaults(), "rectified_flow": GenerationDefaults(sampler="euler")}
_BY_OBJECTIVE[DISTILLED] = GenerationDefaults(steps=8, guidance=1.0, sampler="pingpong", comparison_steps=8)


def read_generation_defaults(config: Mapping[str, Any], base: str | None = None) -> GenerationDefaults:
    """How a model is sampled.

    Args:
        config: its model config.
        base: name of its base, as a recipe says it.

    Raises:
        ModelError: the config has an unknown objective, or a value under `generation` that cannot be.
    """
    objective = str(config.get("model", {}).get("diffusion", {}).get("diffusion_objective", "v"))
    is_rectified_flow(objective)  # raises for an unknown one
    known = find_known_base(base) if base else None
    found = known.defaults if known else _read_demos(config, _BY_OBJECTIVE[objective])
    found = _change_values(found, config.get(GENERATION, {}))
    window_s = config["sample_size"] / config["sample_rate"] if {"sample_size", "sample_rate"} <= set(config) else found.length_s
    return replace(found, length_s=min(found.length_s, window_s))


def add_generation_defaults(config: Mapping[str, Any], base: str | None) -> dict[str, Any]:
    """The config with its defaults under `generation`, so that a release carries them wherever it goes."""
    return {**config, GENERATION: asdict(read_generation_defaults(config, base))}


def _read_demos(config: Mapping[str, Any], usual: GenerationDefaults) -> GenerationDefaults:
    """What a config says of the demos of its training, as stable-audio-tools reads it."""
    demo = config.get("training", {}).get("demo", {})
    scales = demo.get("demo_cfg_scales") or [usual.guidance]
    return replace(usual, steps=int(demo.get("demo_steps", usual.steps)), guidance=float(scales[len(scales) // 2]))


def _change_values(found: GenerationDefaults, said: Any) -> GenerationDefaults:
    """The defaults with the values of a config's key `generation`; keys that are not known here are left out."""
    cure = "write numbers above 0, and a sampler's name"
    if not isinstance(said, Mapping):
        raise ModelError("generation is no table", where=GENERATION, cure=cure)
    kinds = {field.name: type(getattr(found, field.name)) for field in fields(found)}
    changed = {}
    for name in kinds.keys() & said.keys():
        value = said[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        lowest = 0 if name in ("guidance", "projected_guidance") else 1e-9
        if not isinstance(value, str) if kinds[name] is str else not number or not lowest <= value < float("inf"):
            raise ModelError(f"{name} is {value!r}", where=GENERATION, cure=cure)
        changed[name] = kinds[name](value)
    return replace(found, **changed)
