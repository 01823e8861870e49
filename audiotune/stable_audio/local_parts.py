"""A model is built from what lies in its folder. What a config asks to be fetched from elsewhere is refused before anything is built.

stable-audio-tools downloads tokenizers, encoders and codecs that a config names, and some of its parts load pickles. A base is mirrored
with its parts (base_models.py); every later use, as serving, training and evaluation, reaches no hub.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiotune.errors import ModelError

SPECTRAL = "audiotune_spectral"  # our pretransform type
CONDITIONERS = ("t5", "t5gemma", "lut", "number", "int", "list")
# a text encoder's type -> the setting that names it, and its name where none is said
TEXT_ENCODERS = {"t5": ("t5_model_name", "t5-base"), "t5gemma": ("model_name", "google/t5gemma-b-b-ul2")}
PRETRANSFORMS = ("autoencoder", SPECTRAL, "patched", "wavelet", "pqmf")


def localize_config(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config with the folders of its tokenizers absolute, in a copy.

    Raises:
        ModelError: a conditioner or pretransform whose type is not allowed, or a tokenizer or text encoder that is not in the folder.
    """
    require_allowed_types(config, str(folder))
    config = copy.deepcopy(config)
    for conditioner in _list_conditioners(config):
        kind, settings = conditioner.get("type"), conditioner.setdefault("config", {})
        if kind in TEXT_ENCODERS:
            find_text_encoder(folder, str(settings.get(*TEXT_ENCODERS[kind])))
        if kind == "lut":
            settings["tokenizer_name"] = str(_find_part(folder, str(settings.get("tokenizer_name", "")), "tokenizer", ""))
    return config


def require_allowed_types(config: dict[str, Any], where: str) -> None:
    """Raises ModelError for a conditioner or pretransform whose type is not allowed."""
    for what, allowed, found in (
        ("pretransform", PRETRANSFORMS, _list_pretransforms(config.get("model"))),
        ("conditioner", CONDITIONERS, (conditioner.get("type") for conditioner in _list_conditioners(config))),
    ):
        for kind in found:
            if kind not in allowed:
                cure = f"use a base whose {what}s are of the types {', '.join(allowed)}"
                raise ModelError(f"a {what} of type {str(kind)[:100]!r} is not allowed", where=where, cure=cure)


def _list_conditioners(config: dict[str, Any]) -> list[dict[str, Any]]:
    found = config.get("model", {}).get("conditioning", {}).get("configs", [])
    return [conditioner for conditioner in found if isinstance(conditioner, dict)]


def find_encoder_folder(folder: Path, name: str, files: Sequence[str]) -> Path:
    """The folder of a text encoder or tokenizer that the model in `folder` names, which needs `files`. Raises ModelError."""
    return (
        _find_part(folder, name, "text encoder", "config.json")
        if "config.json" in files
        else _find_part(folder, name, "tokenizer", "")
    )


def find_text_encoder(folder: Path, name: str) -> Path:
    """The folder of a text encoder. Raises ModelError."""
    return _find_part(folder, name, "text encoder", "config.json")


@contextlib.contextmanager
def forbid_downloads() -> Iterator[None]:
    """Within the block Hugging Face's libraries reach no hub, whatever asks them to."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _find_part(folder: Path, name: str, what: str, needed_file: str) -> Path:
    """A folder inside the base's folder: under text_encoder/ or beside the config, by its full or its last name."""
    last = name.split("/")[-1]
    if not {"", ".", ".."} & set(name.split("/")):  # an absolute path begins with ""
        for found in (folder / "text_encoder" / name, folder / "text_encoder" / last, folder / name, folder / last):
            if found.is_dir() and (found / needed_file).exists():
                return found.resolve()
    raise ModelError(
        f"the {what} {name[:100]!r} is not beside the model, and nothing is downloaded here",
        where=str(folder),
        cure=f"put its files into text_encoder/{last[:100]}; a base named as organisation/model is mirrored with them",
    )


def _list_pretransforms(part: Any) -> Iterator[Any]:
    """The types of all pretransforms in a config, which may hold one another."""
    if isinstance(part, list):
        for inner in part:
            yield from _list_pretransforms(inner)
    elif isinstance(part, dict):
        for key, inner in part.items():
            if key in ("pretransform", "pretransform_config") and isinstance(inner, dict):
                yield inner.get("type")
            yield from _list_pretransforms(inner)
