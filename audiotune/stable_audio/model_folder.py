"""A folder with a model's files, as the loaders need it, from the store's blobs."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotune.store.atomic_files import replace_atomically
from audiotune.store.cache_folder import choose_temporary_folder
from audiotune.store.port import Store

CONFIG, WEIGHTS = "model_config.json", "model.safetensors"
CHECKPOINT = "model.ckpt"  # upstream's older, pickled name; read with weights_only and kept as safetensors
TEXT_ENCODER_FOLDERS = ("tokenizer", "text_encoder")
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "tokenizer.model", "vocab.json", "merges.txt"),
)
ENCODER_FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)
_NOTICE = re.compile(r"(licen[cs]e|notice|copying)([-_.][\w.-]*)?", re.IGNORECASE)
# conditioner -> the setting that names its encoder, the encoder where none is named, and the files it needs
_ENCODERS: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "t5": ("t5_model_name", "t5-base", ENCODER_FILES),
    "t5gemma": ("model_name", "google/t5gemma-b-b-ul2", ENCODER_FILES),
    "lut": ("tokenizer_name", "", TOKENIZER_FILES),
}


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


def list_encoders(config: dict[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """The text encoders and tokenizers that a model config names, each with the files it needs."""
    for conditioner in config.get("model", {}).get("conditioning", {}).get("configs", []):
        setting, usual, files = _ENCODERS.get(conditioner.get("type"), ("", "", ()))
        if name := str(conditioner.get("config", {}).get(setting, usual)):
            yield name, files


def locate_encoder_folder(name: str) -> str:
    """The folder of a text encoder (`t5-base`, `google/flan-t5-base`) inside a base's folder."""
    return f"text_encoder/{name.split('/')[-1]}"


def list_text_encoder_files(folder: Path) -> Iterator[Path]:
    """The files of a model's text conditioner, in order. Hidden ones are left out: downloaders keep time stamps in `.cache`."""
    for name in TEXT_ENCODER_FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                yield path


def is_notice(path: str) -> bool:
    """Whether a file holds a licence or a notice that must travel with the model, as `LICENSE.md` and `NOTICE` do."""
    return _NOTICE.fullmatch(path) is not None


def list_notice_files(folder: Path) -> list[Path]:
    """The licence and notice files beside a model, in order."""
    return sorted(path for path in folder.iterdir() if path.is_file() and is_notice(path.name))


def convert_checkpoint(source: Path, target: Path) -> None:
    """Writes pickled weights as safetensors. They are read with weights_only: no code of theirs runs."""
    import torch

    from audiotune.store import tensor_files

    loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    state = loaded.get("state_dict", loaded)
    tensor_files.write_tensors(target, {name: tensor_files.wrap_tensor(tensor) for name, tensor in state.items()})
