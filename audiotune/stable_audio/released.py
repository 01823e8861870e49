"""Opens unwrapped weights from the store, as evaluate and the generation service need them. Safetensors only."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath

from audiotune.errors import ModelError
from audiotune.release import WeightsPointer
from audiotune.stable_audio.load import CONFIG, Precision, StableAudio, load_model
from audiotune.store.port import Store, digest_in


def open_weights(store: Store, pointer: WeightsPointer, *, device: str = "cpu", precision: Precision = "fp32") -> StableAudio:
    """The model of a weights pointer.

    Raises:
        ModelError: the key does not carry the digest, an unmerged adapter, or files that do not fit together.
        DamagedBlobError: the stored bytes are not what the digest promises.
    """
    if digest_in(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="register the release again")
    if pointer.adapter:
        raise ModelError("the adapter was kept beside its base", where=pointer.adapter, cure="unwrap with lora = merge")
    weights = store.fetch(pointer.weights)
    return load_model(_folder(store, pointer), weights, device=device, precision=precision)


def _folder(store: Store, pointer: WeightsPointer) -> Path:
    """A folder of links to config and tokenizer; named by their content, made once per machine."""
    name = "-".join(filter(None, (digest_in(key) for key in (pointer.config, *sorted(pointer.files.values())))))
    root = Path(tempfile.gettempdir()) / f"audiotune-releases-{os.getuid()}"
    folder = root / hashlib.sha256(name.encode()).hexdigest()
    for path, key in {CONFIG: pointer.config, **pointer.files}.items():
        place = PurePosixPath(path)
        if place.is_absolute() or ".." in place.parts:
            raise ModelError(f"{path!r} would leave the release's folder", where=pointer.config, cure="do not trust this release")
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not target.exists():
            part = target.with_name(f".{target.name}.{os.getpid()}")
            part.write_bytes(store.fetch(key).read_bytes())
            part.replace(target)
    return folder
