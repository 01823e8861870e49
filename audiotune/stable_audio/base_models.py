"""Base models by name: the shipped one, a folder, a prefix in the store, or a model on Hugging Face.

A base is a folder as stable-audio-tools reads it: `model_config.json`, `model.safetensors` and the files of its text conditioner
(`tokenizer/`, or `text_encoder/<name>/` with the encoder that the config names). A model of Hugging Face is mirrored into the
store with its text encoder on first use (base_mirror.py); later uses download nothing. Imports no stable_audio_tools.
"""

import contextlib
import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.domain.recording import Digest
from audiotune.errors import ModelError, StoreError
from audiotune.reporting.progress import ProgressCallback, ignore_progress
from audiotune.stable_audio.base_index import (
    BaseIndex,
    choose_index_name,
    compute_base_digest,
    read_base_index,
    write_base_index,
)
from audiotune.stable_audio.base_mirror import BaseMirror, ConfigCheck, choose_model_files, open_scratch
from audiotune.stable_audio.buildable import check_buildable
from audiotune.stable_audio.hub import Hub, HuggingFace
from audiotune.stable_audio.known_bases import KNOWN_BASES, find_known_base
from audiotune.stable_audio.local_parts import find_encoder_folder
from audiotune.stable_audio.model_folder import (
    CHECKPOINT,
    CONFIG,
    WEIGHTS,
    convert_checkpoint,
    link_model_files,
    list_encoders,
    list_notice_files,
    list_text_encoder_files,
    locate_encoder_folder,
)
from audiotune.store.cache_folder import choose_temporary_folder
from audiotune.store.known_digests import read_digest
from audiotune.store.port import Store, digest_from_key


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


def resolve_base(
    store: Store,
    name: str,
    hub: Hub | None = None,
    progress: ProgressCallback = ignore_progress,
    check: ConfigCheck = check_buildable,
) -> BaseModelFolder:
    """Finds a base model: shipped, folder, in the store, else on Hugging Face (then it is mirrored into the store).

    Args:
        store: keeps mirrored bases under `bases/`.
        name: one of `known_bases`, a folder, a store prefix, or `organisation/model`.
        hub: source of downloads; default Hugging Face with HF_TOKEN.
        progress: told while files come.
        check: of the config, before weights are fetched.

    Raises:
        ModelError: no model has this name, or it is no stable-audio-tools model.
        SourceError: Hugging Face refuses (licence not accepted, no token) or does not answer.
    """
    for folder in (find_shipped_folder() / name, Path(name).expanduser()):
        if (folder / CONFIG).is_file():
            return _open_base_folder(name, folder)
    index = read_base_index(store, name) or _import_from_prefix(store, name)
    return _link_base(store, name, index or mirror_base(store, name, hub, progress, check))


def mirror_base(
    store: Store,
    name: str,
    hub: Hub | None = None,
    progress: ProgressCallback = ignore_progress,
    check: ConfigCheck = check_buildable,
) -> BaseIndex:
    """Copies a base of Hugging Face into the store. Raises ModelError, SourceError."""
    known = find_known_base(name)
    if name.count("/") != 1 and not (known and known.repository):
        names = [base.name for base in KNOWN_BASES]
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        cure = f"{meant}Name one of {', '.join(names)}, a folder, a prefix in the store, or organisation/model on Hugging Face"
        raise ModelError(f"no base model {name!r}", cure=cure)
    return BaseMirror(store, hub or HuggingFace(), progress, check).copy_base(name)


def import_base_folder(store: Store, name: str, folder: Path) -> BaseIndex:
    """Copies a base that somebody brought in a folder into the store, under this name. Raises ModelError."""
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    config_file, weights_file = choose_model_files(there, find_known_base(name))
    if config_file is None or weights_file is None:
        raise ModelError("no base lies here", where=str(folder), cure=f"name the folder that holds {CONFIG} and {WEIGHTS}")
    config = json.loads((folder / config_file).read_bytes())
    check_buildable(config, str(folder))
    weights = folder / weights_file
    with open_scratch(weights.stat().st_size) as scratch:
        if weights.suffix == ".ckpt":
            convert_checkpoint(weights, scratch / WEIGHTS)
            weights = scratch / WEIGHTS
        paths = {CONFIG: folder / config_file, WEIGHTS: weights, **_find_encoder_files(folder, config)}
        index = _keep_files(store, choose_index_name(name), paths, list_notice_files(folder))
    write_base_index(store, index)
    return index


def _find_encoder_files(folder: Path, config: dict[str, Any]) -> dict[str, Path]:
    """The files of the text encoders that a config names, by the paths that a copy from the hub gives them: both have one digest."""
    found: dict[str, Path] = {}
    for encoder, names in list_encoders(config):
        source = find_encoder_folder(folder, encoder, names)
        target = encoder if (folder / encoder).is_dir() else locate_encoder_folder(encoder)
        found |= {f"{target}/{name}": source / name for name in names if (source / name).is_file()}
    return dict(sorted(found.items()))


def find_shipped_folder() -> Path:
    """The folder of shipped bases: AUDIOTUNE_BASES, else `bases/` beside the package."""
    return Path(os.environ.get("AUDIOTUNE_BASES") or Path(__file__).resolve().parents[2] / "bases")


def _open_base_folder(name: str, folder: Path) -> BaseModelFolder:
    if not (folder / WEIGHTS).is_file():
        if not (folder / CHECKPOINT).is_file():
            raise ModelError("a model config without weights", where=str(folder), cure=f"put {WEIGHTS} beside {CONFIG}")
        folder = _convert_folder(folder)
    paths = [folder / CONFIG, folder / WEIGHTS, *list_text_encoder_files(folder)]
    files = {str(path.relative_to(folder)): read_digest(path) for path in paths}
    return BaseModelFolder(name, folder, compute_base_digest(files), files)


def _link_base(store: Store, name: str, index: BaseIndex) -> BaseModelFolder:
    """A folder of links to the store's files. The blobs' names are their hashes: nothing is hashed for the digest."""
    folder = link_model_files(store, {**index.files, **index.notices})
    files = {path: digest_from_key(key) or "" for path, key in index.files.items()}
    return BaseModelFolder(name, folder, index.digest, files)


def _import_from_prefix(store: Store, name: str) -> BaseIndex | None:
    """The files under a prefix of the store, as blobs; None if there is no model config. No index is kept: the prefix may change."""
    prefix = name.strip("/")
    with contextlib.suppress(StoreError), tempfile.TemporaryDirectory(prefix="audiotune-base-") as temporary:
        if not store.exists(f"{prefix}/{CONFIG}"):  # StoreError for a name that can be no key, such as /a/folder
            return None
        folder = Path(temporary)
        for entry in store.list(f"{prefix}/"):
            target = folder / entry.key.removeprefix(f"{prefix}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.fetch(entry.key), target)
        return _keep_folder(store, name, folder)
    return None


def _keep_folder(store: Store, name: str, folder: Path) -> BaseIndex:
    """Stores a folder's files as blobs."""
    base = _open_base_folder(name, folder)
    return _keep_files(store, name, {path: base.folder / path for path in base.files}, list_notice_files(base.folder))


def _keep_files(store: Store, name: str, paths: Mapping[str, Path], notices: Sequence[Path]) -> BaseIndex:
    files = {path: store.put_blob(source, Path(path).suffix.lower()) for path, source in sorted(paths.items())}
    return BaseIndex(name, files, {path.name: store.put_blob(path, ".txt") for path in notices})


def _convert_folder(folder: Path) -> Path:
    """A folder with the same base, its pickled weights rewritten as safetensors."""
    copy = choose_temporary_folder("bases") / f"from-{read_digest(folder / CHECKPOINT)}"
    copy.mkdir(parents=True, exist_ok=True)
    for path in [folder / CONFIG, *list_text_encoder_files(folder), *list_notice_files(folder)]:
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if not (copy / WEIGHTS).is_file():
        convert_checkpoint(folder / CHECKPOINT, copy / WEIGHTS)
    return copy
