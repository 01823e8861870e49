"""Describes a dataset for stable-audio-tools and as Croissant JSON-LD. The store keeps both beside the dataset.

    manifests/datasets/<digest>/stable_audio_tools/   dataset_config.json, val_dataset_config.json, captions.py, captions.json
    manifests/datasets/<digest>/croissant.json        describes the folder that `python -m components.annotate_merge.export` writes

The loader of stable-audio-tools reads a folder of sound files and gets the caption of each from the metadata module.
"""

import json
from pathlib import Path
from typing import Any

from audiotune.audio.sound import RENDER_RATE_HZ
from audiotune.domain.annotation import read_segment_annotations
from audiotune.domain.dataset import DatasetRow, Split
from audiotune.domain.manifest import Manifest
from audiotune.governance import Agreement
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.layout import DATASETS
from audiotune.store.port import Store
from components.annotate_merge.croissant import build_captions_table, build_croissant, sound_file_name
from components.annotate_merge.label_exports import build_label_exports

_LOADER_FOLDER = "stable_audio_tools"
_METADATA_MODULE = Path(__file__).with_name("stable_audio_tools_captions.py")
_CONFIGS: dict[str, Split] = {"dataset_config.json": "train", "val_dataset_config.json": "held_out"}


def save_exports(store: Store, dataset: Manifest[DatasetRow], agreement: Agreement) -> None:
    """Stores both descriptions beside the dataset. Paths in them are relative to the exported folder."""
    for name, text in describe_dataset(dataset, agreement).items():
        store.put(DATASETS.key(dataset.digest, name), text.encode())


def describe_dataset(dataset: Manifest[DatasetRow], agreement: Agreement, folder: str = ".") -> dict[str, str]:
    """File name -> content. `folder`: of the sounds; with an absolute path stable-audio-tools can run from any folder."""
    configs = {f"{_LOADER_FOLDER}/{name}": _to_json(_dataset_config(side, folder)) for name, side in _CONFIGS.items()}
    return {
        **configs,
        f"{_LOADER_FOLDER}/captions.py": _METADATA_MODULE.read_text(encoding="utf-8"),
        f"{_LOADER_FOLDER}/captions.json": _to_json(_captions_by_file(dataset)),
        "croissant.json": _to_json(build_croissant(dataset, agreement)),
    }


def write_dataset(store: Store, dataset: Manifest[DatasetRow], agreement: Agreement, folder: Path) -> Path:
    """Writes sounds and descriptions into a folder: `train/`, `held_out/`, `stable_audio_tools/`, tables, labels, croissant.json.

    Raises:
        NotInStoreError, DamagedBlobError: a sound is missing or changed; the folder then has no croissant.json.
    """
    for side in _CONFIGS.values():
        (folder / side).mkdir(parents=True, exist_ok=True)
    for row in dataset.rows:
        write_atomic_file(folder / row.split / sound_file_name(row), store.fetch(row.segment.blob).read_bytes())
    write_atomic_file(folder / "captions.jsonl", build_captions_table(dataset))
    write_atomic_file(folder / "dataset.jsonl", dataset.to_bytes())
    annotations = [one for row in dataset.rows for one in read_segment_annotations(store, row.segment.id)]
    for name, text in build_label_exports(dataset.rows, (a for a in annotations if agreement.find_member(a.member))).items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomic_file(folder / name, text.encode())
    for name, text in describe_dataset(dataset, agreement, str(folder.resolve())).items():  # croissant.json is the last
        write_atomic_file(folder / name, text.encode())
    return folder


def _dataset_config(side: Split, folder: str) -> dict[str, Any]:
    one = {"id": side, "path": f"{folder}/{side}", "custom_metadata_module": f"{folder}/{_LOADER_FOLDER}/captions.py"}
    return {"dataset_type": "audio_dir", "datasets": [one], "random_crop": False, "drop_last": False}


def _captions_by_file(dataset: Manifest[DatasetRow]) -> dict[str, Any]:
    return {
        sound_file_name(row): {
            "captions": list(row.caption.all_texts),
            "seconds_total": round(row.segment.frames / RENDER_RATE_HZ, 3),
        }
        for row in dataset.rows
    }


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
