"""Loads a model from the unwrapped weights in the store, for evaluate and the generation service. Safetensors only."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiotune.domain.release import WeightsPointer
from audiotune.errors import ModelError
from audiotune.stable_audio.load import Precision, load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.model_folder import CONFIG, link_model_files
from audiotune.store.layout import MODEL_BLOBS
from audiotune.store.port import Store, digest_from_key


def open_weights(store: Store, pointer: WeightsPointer, *, device: str = "cpu", precision: Precision = "fp32") -> StableAudio:
    """The model of a weights pointer.

    Raises:
        ModelError: the key does not contain the digest, or the files do not fit together.
        DamagedBlobError: the stored bytes do not match the digest.
    """
    if digest_from_key(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="register the release again")
    adapter = store.fetch(pointer.adapter) if pointer.adapter else None
    weights = store.fetch(pointer.weights)
    return load_model(_link_config_files(store, pointer), weights, adapter=adapter, device=device, precision=precision)


def _link_config_files(store: Store, pointer: WeightsPointer) -> Path:
    """A folder of links to the config and the files of the text conditioner. Files of other kinds, such as a README that somebody laid
    beside the tokenizer, stay in the store: the generation service may not read them."""
    for path in pointer.files:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelError(f"{path!r} would leave the release's folder", where=pointer.config, cure="do not trust this release")
    needed = {path: key for path, key in pointer.files.items() if key.endswith(MODEL_BLOBS.suffixes)}
    return link_model_files(store, {CONFIG: pointer.config, **needed})
