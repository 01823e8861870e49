"""Unwrapped weights in the store: the pointer to them, and the model, for evaluate and the generation service. Safetensors only."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from audiotune.domain.recording import Digest
from audiotune.domain.release import WeightsPointer
from audiotune.errors import ModelError
from audiotune.stable_audio.generation_defaults import add_generation_defaults
from audiotune.stable_audio.load import Precision, load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.model_folder import CONFIG, link_model_files, list_notice_files, list_text_encoder_files
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
    folder = _link_config_files(store, pointer)
    return load_model(folder, weights, adapter=adapter, device=device, precision=precision, base=pointer.base)


def point_to_weights(store: Store, key: str, folder: Path, name: str, digest: Digest, **facts: Any) -> WeightsPointer:
    """The pointer to weights in the store, with the config, the tokenizer and the licence of their base: tuning changes values, not shapes.

    Args:
        key: of the weights.
        folder, name, digest: of the base.
        facts: the other fields.
    """
    return WeightsPointer(
        weights=key,
        weights_digest=digest_from_key(key) or "",
        config=store.put_blob(_describe_model(folder, name), ".json"),
        files={
            str(path.relative_to(folder)): store.put_blob(path, path.suffix.lower()) for path in list_text_encoder_files(folder)
        },
        notices={path.name: store.put_blob(path, ".txt") for path in list_notice_files(folder)},
        base=name,
        base_digest=digest,
        **facts,
    )


def _describe_model(folder: Path, base: str) -> bytes:
    """The base's config, and how it is sampled: who gets the release needs no table of bases."""
    try:
        described = json.loads((folder / CONFIG).read_bytes())
    except ValueError as e:
        raise ModelError(f"the model config cannot be read: {e}", where=str(folder / CONFIG), cure="fetch it again") from e
    return json.dumps(add_generation_defaults(described, base), indent=2).encode()


def _link_config_files(store: Store, pointer: WeightsPointer) -> Path:
    """A folder of links to the config and the files of the text conditioner. Files of other kinds, such as a README that somebody laid
    beside the tokenizer, stay in the store: the generation service may not read them."""
    for path in pointer.files:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelError(f"{path!r} would leave the release's folder", where=pointer.config, cure="do not trust this release")
    needed = {path: key for path, key in pointer.files.items() if key.endswith(MODEL_BLOBS.suffixes)}
    return link_model_files(store, {CONFIG: pointer.config, **needed})
