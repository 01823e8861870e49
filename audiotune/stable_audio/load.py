"""Loads a model from its config and a safetensors file."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from audiotune.errors import ModelError
from audiotune.stable_audio import t5_text_encoder
from audiotune.stable_audio.adapters import merge_adapter
from audiotune.stable_audio.generation_defaults import add_generation_defaults
from audiotune.stable_audio.local_parts import forbid_downloads, localize_config
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.model_folder import CONFIG, WEIGHTS
from audiotune.stable_audio.snake import speed_up_snakes
from audiotune.stable_audio.upstream_factory import import_factory, silence_output

Precision = Literal["fp32", "bf16", "fp16"]
TINY_BASE = Path(__file__).resolve().parents[2] / "bases" / "tiny"  # configs without a folder use its tokenizer


def load_model(
    config: Path | dict[str, Any],
    weights: Path | None = None,
    *,
    adapter: Path | None = None,
    device: str = "cpu",
    precision: Precision = "fp32",
    base: str | None = None,
) -> StableAudio:
    """Builds the model with stable-audio-tools' own factory and loads its weights.

    Args:
        config: a model config as a dictionary, its JSON file, or a folder with model_config.json (and model.safetensors,
            which is then the default of `weights`).
        weights: an unwrapped .safetensors file; None with a dictionary or JSON file leaves the random initial weights.
        adapter: a LoRA adapter to merge into the weights in memory.
        device: "cpu", "cuda", or as torch names it; "auto" is a GPU if there is one.
        precision: of the diffusion transformer; autoencoder and conditioners stay fp32.
        base: name of its base, which may say how it is sampled.

    Raises:
        ModelError: no such file, not safetensors, an unknown objective, weights that do not fit the config, or a part that would have to
            be downloaded.
    """
    described, folder = _read_config(config)
    if weights is None and isinstance(config, Path) and config.is_dir():
        weights = config / WEIGHTS
    described = add_generation_defaults(localize_config(described, folder), base)  # raises for an unknown objective
    model = _build_model(described, folder)
    if weights is not None:
        load_weights(model, weights)
    if adapter is not None:
        merge_adapter(model, adapter)
    model.eval().requires_grad_(False)
    if model.pretransform is not None:
        speed_up_snakes(model.pretransform)
    move_to_device(model, choose_device(device), precision)
    return StableAudio(model, described)


def load_weights(model: Any, weights: Path) -> None:
    """Loads an unwrapped safetensors file into the model; names and shapes of all tensors must match."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if weights.suffix != ".safetensors":
        raise ModelError("weights are not a safetensors file", where=str(weights), cure="unwrap the checkpoint first")
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as e:
        raise ModelError(f"cannot read the weights: {e}", where=str(weights), cure="fetch the file again") from e
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(state)) + sorted(k for k in set(own) & set(state) if own[k].shape != state[k].shape)
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(own)} tensors do not fit the model config, the first is {wrong[0]}",
            where=str(weights),
            cure="use the model_config.json these weights were made with",
        )
    model.load_state_dict(state)


def _read_config(config: Path | dict[str, Any]) -> tuple[dict[str, Any], Path]:
    if isinstance(config, dict):
        return config, TINY_BASE
    file = config / CONFIG if config.is_dir() else config
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(
            f"cannot read the model config: {e}", where=str(file), cure="give a folder with model_config.json"
        ) from e
    if not isinstance(described, dict) or not str(described.get("model_type", "")).startswith("diffusion_cond"):
        raise ModelError("the config is not of a text-conditioned diffusion model", where=str(file))
    return described, file.parent


def _build_model(config: dict[str, Any], folder: Path) -> Any:
    bare, encoders = t5_text_encoder.extract_t5_encoders(config, folder)
    with _explain_failure(folder):
        model = build_bare_model(bare, folder)
        t5_text_encoder.insert_t5_encoders(model, encoders)
    return model


def build_bare_model(config: dict[str, Any], folder: Path) -> Any:
    """stable-audio-tools' model of a config that names no text encoder. Raises ModelError."""
    create = import_factory().create_model_from_config
    with _explain_failure(folder):
        model = create(config)
    if getattr(model.pretransform, "model_half", False):  # its speed is not worth its noise, and a CPU has no fast half precision
        model.pretransform.model_half = False
        model.pretransform.float()
    return model


@contextlib.contextmanager
def _explain_failure(folder: Path) -> Iterator[None]:
    try:
        with silence_output(), forbid_downloads():
            yield
    except (KeyError, TypeError, AssertionError, NotImplementedError, ValueError, OSError) as e:
        raise ModelError(f"stable-audio-tools cannot build this config: {e!r}", where=str(folder / CONFIG)) from e


def choose_device(name: str) -> str:
    """The device of that name; "auto" is a GPU if there is one."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def move_to_device(model: Any, device: str, precision: Precision) -> None:
    """Moves the whole model; its diffusion transformer takes the precision. Raises ModelError."""
    import torch

    try:
        model.to(device)
    except (RuntimeError, AssertionError) as e:
        raise ModelError(f"the device {device!r} cannot be used: {e}", cure="use cpu, or start where a GPU is") from e
    model.model.to({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])
