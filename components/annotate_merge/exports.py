"""The same dataset for others: as stable-audio-tools reads it, and as Croissant JSON-LD.

python -m components.annotate_merge.exports --store STORE --dataset KEY --out FOLDER      audio, captions and both files
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotune import manifest
from audiotune.dataset import DatasetRow, contributors_of
from audiotune.errors import AudioTuneError
from audiotune.governance import Agreement, current_agreement
from audiotune.manifest import Manifest
from audiotune.sound import RENDER_RATE_HZ
from audiotune.store import open_store
from audiotune.store.port import Store, digest_in

METADATA_MODULE = '''"""Captions for stable-audio-tools: it calls get_custom_metadata for each file it reads."""

import json
from pathlib import Path

CAPTIONS = json.loads((Path(__file__).parent / "captions.json").read_text())


def get_custom_metadata(info, audio):
    """The prompt of a file, by its name."""
    return {"prompt": CAPTIONS[Path(info["relpath"]).name]["prompt"]}
'''


def save_exports(store: Store, dataset: Manifest[DatasetRow], agreement: Agreement) -> None:
    """Keeps both descriptions in the store, under manifests/datasets/<digest>/."""
    for name, text in described(dataset, agreement).items():
        store.put(f"manifests/datasets/{dataset.digest}/{name}", text.encode())


def described(dataset: Manifest[DatasetRow], agreement: Agreement) -> dict[str, str]:
    """File name -> content."""
    return {
        "stable_audio_tools/dataset_config.json": _json(_dataset_config()),
        "stable_audio_tools/captions_module.py": METADATA_MODULE,
        "stable_audio_tools/captions.json": _json(_captions(dataset)),
        "croissant.json": _json(croissant(dataset, agreement)),
    }


def materialise(store: Store, dataset: Manifest[DatasetRow], agreement: Agreement, folder: Path) -> Path:
    """Writes audio and descriptions into a folder that stable-audio-tools can train on as it is."""
    for name, text in described(dataset, agreement).items():
        target = folder / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        config = text.replace('"path": "train"', f'"path": {json.dumps(str((folder / "train").resolve()))}')
        config = config.replace('"captions_module.py"', json.dumps(str((folder / "captions_module.py").resolve())))
        target.write_text(config if target.name == "dataset_config.json" else text)
    for row in dataset.rows:
        target = folder / row.split / _file(row)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_bytes(store.fetch(row.segment.blob).read_bytes())
    return folder


def croissant(dataset: Manifest[DatasetRow], agreement: Agreement) -> dict[str, Any]:
    """Croissant 1.0 JSON-LD (MLCommons) with licence, creators and responsible-AI fields."""
    people = {member.id: member.name for member in agreement.members}
    files = [
        {
            "@type": "cr:FileObject",
            "@id": f"{row.split}/{_file(row)}",
            "name": _file(row),
            "contentUrl": f"{row.split}/{_file(row)}",
            "encodingFormat": "audio/flac",
            "sha256": digest_in(row.segment.blob),
        }
        for row in dataset.rows
    ]
    captions = {
        "@type": "cr:FileObject",
        "@id": "captions.jsonl",
        "name": "captions.jsonl",
        "contentUrl": "captions.jsonl",
        "encodingFormat": "application/jsonlines",
        "sha256": dataset.digest,
    }
    source = {"fileObject": {"@id": "captions.jsonl"}}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"segments/{name}",
            "name": name,
            "dataType": "sc:Text",
            "source": {**source, "extract": {"jsonPath": path}},
        }
        for name, path in (("segment", "$.segment.id"), ("caption", "$.caption.text"), ("split", "$.split"))
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{agreement.group} {dataset.digest[:12]}",
        "description": f"{len(dataset.rows)} captioned segments at {RENDER_RATE_HZ} Hz, split by recording.",
        "license": agreement.recordings_licence,
        "url": f"urn:sha256:{dataset.digest}",
        "version": "1.0.0",
        "datePublished": "2026-01-01",
        "creator": [{"@type": "sc:Person", "name": people.get(member, member)} for member in contributors_of(dataset)],
        "rai:dataCollection": "Recorded by the members together, or uploaded by them under the licence of each recording.",
        "rai:dataUseCases": "Fine-tuning a generative audio model that the members co-own: " + ", ".join(agreement.allowed_uses),
        "rai:personalSensitiveInformation": "Names of the members who are heard, with their consent.",
        "distribution": [captions, *files],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "segments", "name": "segments", "field": fields}],
    }


def _dataset_config() -> dict[str, Any]:
    return {
        "dataset_type": "audio_dir",
        "datasets": [{"id": "train", "path": "train", "custom_metadata_module": "captions_module.py"}],
        "random_crop": False,
    }


def _captions(dataset: Manifest[DatasetRow]) -> dict[str, Any]:
    return {
        _file(row): {"prompt": row.caption.text, "variants": list(row.caption.variants), "split": row.split}
        for row in dataset.rows
    }


def _file(row: DatasetRow) -> str:
    return f"{row.segment.id[:32]}.flac"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m components.annotate_merge.exports", description="Take a dataset away.")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--dataset", default="newest", help="store key of a datasets manifest (default: newest)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        store = open_store(args.store)
        key = args.dataset if args.dataset != "newest" else manifest.newest(store, "datasets") or "manifests/datasets/none"
        agreement = current_agreement(store)
        if agreement is None:
            raise AudioTuneError("the store holds no agreement", where=store.url, cure="ingest first")
        folder = materialise(store, manifest.fetch(store, key, "datasets", DatasetRow), agreement, args.out)
    except AudioTuneError as e:
        print(f"exports: {e}", file=sys.stderr)
        return 1
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
