"""Opens unwrapped weights from the store, as evaluate and the generation service need them. Safetensors only."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiotune.domain.release import WeightsPointer
from audiotune.errors import ModelError
from audiotune.stable_audio.load import Precision, load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.model_folder import CONFIG, link_model_files
from audiotune.store.port import Store, digest_from_key


def open_weights(store: Store, pointer: WeightsPointer, *, device: str = "cpu", precision: Precision = "fp32") -> StableAudio:
    """The model of a weights pointer.

    Raises:
        ModelError: the key does not carry the digest, or files that do not fit together.
        DamagedBlobError: the stored bytes are not what the digest promises.
    """
    if digest_from_key(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="register the release again")
    adapter = store.fetch(pointer.adapter) if pointer.adapter else None
    weights = store.fetch(pointer.weights)
    return load_model(_link_config_files(store, pointer), weights, adapter=adapter, device=device, precision=precision)


def _link_config_files(store: Store, pointer: WeightsPointer) -> Path:
    """A folder of links to config and tokenizer, named by their content and made once on each machine."""
    for path in pointer.files:
        place = PurePosixPath(path)
        if place.is_absolute() or ".." in place.parts:
            raise ModelError(f"{path!r} would leave the release's folder", where=pointer.config, cure="do not trust this release")
    return link_model_files(store, {CONFIG: pointer.config, **pointer.files})
