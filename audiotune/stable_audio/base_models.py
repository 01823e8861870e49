"""Base models by name: the shipped one, a folder, a prefix in the store, or a model on Hugging Face.

A base is a folder as stable-audio-tools reads it: `model_config.json`, `model.safetensors` and the files of its text conditioner
(`tokenizer/`, or `text_encoder/<name>/` with the encoder that the config names). A model of Hugging Face is mirrored into the
store with its text encoder on first use; later uses download nothing. Imports no stable_audio_tools.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audiotune.domain.recording import Digest
from audiotune.errors import ModelError, NotInStoreError, StoreError
from audiotune.stable_audio.hub import Hub, HuggingFace
from audiotune.stable_audio.local_parts import require_allowed_types
from audiotune.stable_audio.model_folder import CONFIG, WEIGHTS, link_model_files
from audiotune.store.cache_folder import choose_temporary_folder
from audiotune.store.layout import BASES
from audiotune.store.port import Store, compute_digest, digest_from_key

TEXT_ENCODER_FOLDERS = ("tokenizer", "text_encoder")
_CHECKPOINT = "model.ckpt"  # upstream's older, pickled name; read with weights_only and kept as safetensors
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("spiece.model", "vocab.json", "merges.txt"),
)
_ENCODER_FILES = ("config.json", "model.safetensors", *_TOKENIZER_FILES)


@dataclass(frozen=True)
class BaseModelFolder:
    """A base model on this machine.

    Attributes:
        name: as the caller gave it.
        folder: holds `files`; read only.
        digest: SHA-256 over the names and hashes of all files.
        files: path inside the folder -> SHA-256.
    """

    name: str
    folder: Path
    digest: Digest
    files: Mapping[str, Digest]

    @property
    def weights_path(self) -> Path:
        return self.folder / WEIGHTS


def resolve_base(store: Store, name: str, hub: Hub | None = None) -> BaseModelFolder:
    """Finds a base model: shipped, folder, in the store, else on Hugging Face (then it is mirrored into the store).

    Args:
        store: keeps mirrored bases under `bases/`.
        name: `tiny`, a folder, a store prefix, or `organisation/model`.
        hub: source of downloads; default Hugging Face with HF_TOKEN.

    Raises:
        ModelError: no model has this name, or it is no stable-audio-tools model.
        SourceError: Hugging Face refuses (licence not accepted, no token) or does not answer.
    """
    for folder in (find_shipped_folder() / name, Path(name).expanduser()):
        if (folder / CONFIG).is_file():
            return _open_base_folder(name, folder)
    try:
        files = json.loads(store.get(_index_key(name)))["files"]
    except NotInStoreError:
        files = _import_from_prefix(store, name) or _mirror_from_hub(store, name, hub or HuggingFace())
    return _link_base(store, name, files)


def find_shipped_folder() -> Path:
    """The folder of shipped bases: AUDIOTUNE_BASES, else `bases/` beside the package."""
    return Path(os.environ.get("AUDIOTUNE_BASES") or Path(__file__).resolve().parents[2] / "bases")


def list_text_encoder_files(folder: Path) -> Iterator[Path]:
    """The files of a model's text conditioner, in order."""
    for name in TEXT_ENCODER_FOLDERS:
        yield from sorted(path for path in (folder / name).rglob("*") if path.is_file())


def _open_base_folder(name: str, folder: Path) -> BaseModelFolder:
    if not (folder / WEIGHTS).is_file():
        if not (folder / _CHECKPOINT).is_file():
            raise ModelError("a model config without weights", where=str(folder), cure=f"put {WEIGHTS} beside {CONFIG}")
        folder = _convert_to_safetensors(folder)
    paths = [folder / CONFIG, folder / WEIGHTS, *list_text_encoder_files(folder)]
    return _describe_base(name, folder, {str(path.relative_to(folder)): compute_digest(path) for path in paths})


def _describe_base(name: str, folder: Path, files: Mapping[str, Digest]) -> BaseModelFolder:
    digest = hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()
    return BaseModelFolder(name, folder, digest, dict(files))


def _link_base(store: Store, name: str, files: Mapping[str, str]) -> BaseModelFolder:
    """A folder of links to the store's files."""
    return _describe_base(name, link_model_files(store, files), {path: digest_from_key(key) or "" for path, key in files.items()})


def _import_from_prefix(store: Store, name: str) -> dict[str, str]:
    """Files under a prefix of the store, as blobs; empty if there is no model config."""
    prefix = name.strip("/")
    with contextlib.suppress(StoreError), tempfile.TemporaryDirectory(prefix="audiotune-base-") as temporary:
        if not store.exists(f"{prefix}/{CONFIG}"):  # StoreError for a name that can be no key, such as /a/folder
            return {}
        folder = Path(temporary)
        for entry in store.list(f"{prefix}/"):
            target = folder / entry.key.removeprefix(f"{prefix}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.fetch(entry.key), target)
        return _store_base(store, None, folder)
    return {}


def _mirror_from_hub(store: Store, name: str, hub: Hub) -> dict[str, str]:
    if name.count("/") != 1:
        raise ModelError(
            f"no base model {name!r}", cure="name tiny, a folder, a prefix in the store, or organisation/model on Hugging Face"
        )
    available = hub.list_files(name)
    weights = next((file for file in (WEIGHTS, _CHECKPOINT) if file in available), None)
    if CONFIG not in available or weights is None:
        raise ModelError(f"{name} on Hugging Face is no stable-audio-tools model", cure=f"it needs {CONFIG} and {WEIGHTS}")
    with tempfile.TemporaryDirectory(prefix="audiotune-base-") as temporary:
        folder = Path(temporary)
        hub.download(name, CONFIG, folder)
        require_allowed_types(json.loads((folder / CONFIG).read_bytes()), name)
        for file in (weights, *(file for file in available if file.startswith("tokenizer/"))):
            hub.download(name, file, folder)
        _download_text_encoders(hub, folder)
        return _store_base(store, name, folder)


def _download_text_encoders(hub: Hub, folder: Path) -> None:
    """Downloads the text encoders and tokenizers that the config names."""
    config = json.loads((folder / CONFIG).read_bytes())
    for conditioner in config.get("model", {}).get("conditioning", {}).get("configs", []):
        kind, settings = conditioner.get("type"), conditioner.get("config", {})
        names = {"t5": settings.get("t5_model_name", "t5-base"), "lut": settings.get("tokenizer_name", "")}
        name = names.get(kind, "")
        if not name or (folder / name).is_dir():
            continue
        available = hub.list_files(name)
        for file in _ENCODER_FILES if kind == "t5" else _TOKENIZER_FILES:
            if file in available:
                hub.download(name, file, folder / locate_encoder_folder(name))


def locate_encoder_folder(name: str) -> str:
    """The folder of a text encoder (`t5-base`, `google/flan-t5-base`) inside a base's folder."""
    return f"text_encoder/{name.split('/')[-1]}"


def _store_base(store: Store, name: str | None, folder: Path) -> dict[str, str]:
    """Stores a base's files as blobs, then, for a base with a name, its index."""
    base = _open_base_folder(name or "", folder)
    files = {path: store.put_blob(base.folder / path, Path(path).suffix.lower()) for path in base.files}
    if name:
        store.put(_index_key(name), json.dumps({"name": name, "digest": base.digest, "files": files}, sort_keys=True).encode())
    return files


def _index_key(name: str) -> str:
    return BASES.key(f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json")


def _convert_to_safetensors(folder: Path) -> Path:
    """A folder with the same base, its pickled weights rewritten as safetensors (read with weights_only)."""
    import torch

    from audiotune.store import tensor_files

    copy = choose_temporary_folder("bases") / f"from-{compute_digest(folder / _CHECKPOINT)}"
    copy.mkdir(parents=True, exist_ok=True)
    for path in [folder / CONFIG, *list_text_encoder_files(folder)]:
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if not (copy / WEIGHTS).is_file():
        loaded = torch.load(folder / _CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)
        state = loaded.get("state_dict", loaded)
        tensor_files.write_tensors(copy / WEIGHTS, {name: tensor_files.wrap_tensor(tensor) for name, tensor in state.items()})
    return copy
