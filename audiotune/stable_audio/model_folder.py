"""A folder with a model's files, as the loaders need it, from the store's blobs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from audiotune.store.atomic_files import replace_atomically
from audiotune.store.cache_folder import choose_temporary_folder
from audiotune.store.port import Store

CONFIG, WEIGHTS = "model_config.json", "model.safetensors"


def link_model_files(store: Store, files: Mapping[str, str]) -> Path:
    """A folder of links to blobs (`files`: file name -> store key), named by its content.

    Links, because weights have gigabytes and are in the store's folder or cache already.
    """
    name = hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()
    folder = choose_temporary_folder("models") / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, key in files.items():
        with replace_atomically(folder / path) as part:
            part.symlink_to(store.fetch(key))
    return folder
