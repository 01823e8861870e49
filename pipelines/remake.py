"""Makes a release again: encodes its dataset, trains and unwraps with its own settings, in a store that begins empty.

    python -m pipelines.remake demo:2 --store demo/store --times 5

Prints as JSON which weights came out each time. The same dataset and settings give the same bits on every CPU of one kind; nothing is
written into the group's store. Needs what training needs, and as long. Consent is asked for as ever: the ledger goes along.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiotune.domain.checkpoint import checkpoint_key, load_checkpoint
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import fetch_manifest, manifest_key
from audiotune.domain.release import CheckpointPointer, Release, WeightsPointer, find_card
from audiotune.errors import AudioTuneError, PipelineError
from audiotune.outside.proxies import configure_proxies
from audiotune.reporting.last_words import print_last_words
from audiotune.reporting.progress import ignore_progress
from audiotune.store import FolderStore, Store, open_store
from audiotune.store.layout import BASES, LEDGER
from audiotune.store.port import BLOB_PATTERN
from components.encode.settings import Settings as EncodeSettings
from components.encode.step import run_step as encode
from components.finetune.settings import Settings as FinetuneSettings
from components.finetune.step import run_step as finetune
from components.unwrap.settings import Settings as UnwrapSettings
from components.unwrap.step import run_step as unwrap


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; the last line on stderr is the reason."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.remake", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("release", help="NAME:VERSION")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--times", type=int, default=1, help="how often (default 1)")
    args = parser.parse_args(arguments)
    configure_proxies()
    try:
        store = open_store(args.store)
        release = find_release(store, args.release)
        made = []
        for number in range(1, args.times + 1):
            print(f"training {number} of {args.times} of {args.release}", file=sys.stderr, flush=True)
            made.append(remake_release(store, release))
    except AudioTuneError as e:
        print_last_words("remake", str(e))
        return 1
    print(json.dumps({"release": release.weights.identity, "made": made}))
    return 0


def find_release(store: Store, wanted: str) -> Release:
    """The card of NAME:VERSION in the store. Raises PipelineError: there is none."""
    name, _, version = wanted.partition(":")
    card = find_card(store, name, version)
    if card is None:
        raise PipelineError(f"the store has no release {wanted}", where=store.url, cure="write NAME:VERSION, as in demo:2")
    return card


def remake_release(store: Store, release: Release) -> str:
    """The identity of the weights that came out (`WeightsPointer.identity`).

    Raises PipelineError: nobody wrote down how it was trained. Raises what the steps raise.
    """
    from audiotune.registry.mlflow_server import run_mlflow_server

    settings = release.list_known_settings()
    if "finetune" not in settings:
        what = f"nobody wrote down how {release.name} version {release.version} was trained"
        raise PipelineError(what, cure="only releases that our own training made can be made again")
    with tempfile.TemporaryDirectory() as temporary, run_mlflow_server(Path(temporary) / "mlflow") as url:
        folder, before = Path(temporary), os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = url  # the group's own registry sees nothing of this
        try:
            return _train(copy_needed(store, release, folder / "store"), release, settings, folder)
        finally:
            os.environ.pop("MLFLOW_TRACKING_URI")
            os.environ.update({"MLFLOW_TRACKING_URI": before} if before else {})


def copy_needed(store: Store, release: Release, folder: Path) -> Store:
    """A store with the ledger, the dataset, its sounds and the base models: no latents and no checkpoint."""
    copy = FolderStore(folder)
    dataset = fetch_manifest(store, manifest_key("datasets", release.lineage.dataset), "datasets", DatasetRow)
    dataset.save(copy)
    for entry in (*store.list(LEDGER.path), *store.list(BASES.path)):
        data = store.get(entry.key)
        copy.put(entry.key, data)
        if entry.key.startswith(BASES.path):
            for match in BLOB_PATTERN.finditer(data.decode("utf-8", errors="replace")):
                copy.upload(match.group(0), store.fetch(match.group(0)))
    for key in dict.fromkeys(row.segment.blob for row in dataset.rows):
        copy.upload(key, store.fetch(key))
    return copy


def _train(copy: Store, release: Release, settings: dict[str, dict[str, Any]], folder: Path) -> str:
    key = manifest_key("datasets", release.lineage.dataset)
    dataset = fetch_manifest(copy, key, "datasets", DatasetRow).write(folder / "dataset")
    paths = {name: folder / name for name in ("latents", "metrics", "checkpoint", "report", "weights")}
    encode(
        EncodeSettings.model_validate(settings.get("encode", {"base": release.weights.base})),
        copy,
        ignore_progress,
        dataset=dataset,
        latents=paths["latents"],
        metrics=paths["metrics"],
    )
    finetune(
        FinetuneSettings.model_validate(settings["finetune"]),
        copy,
        ignore_progress,
        latents=paths["latents"],
        dataset=dataset,
        checkpoint=paths["checkpoint"],
        report=paths["report"],
        metrics=paths["metrics"],
    )
    _point_to_step(copy, paths["checkpoint"], release.weights.step)
    unwrap(
        UnwrapSettings.model_validate(settings.get("unwrap", {})),
        copy,
        ignore_progress,
        checkpoint=paths["checkpoint"],
        weights=paths["weights"],
        metrics=paths["metrics"],
    )
    return WeightsPointer.model_validate_json(paths["weights"].read_bytes()).identity


def _point_to_step(copy: Store, path: Path, step: int) -> None:
    """Makes a checkpoint pointer one to the checkpoint that the release was made of, which may be an earlier one than the last."""
    pointer = CheckpointPointer.model_validate_json(path.read_bytes())
    key = checkpoint_key(load_checkpoint(copy, pointer.checkpoint).run_key, step)
    path.write_text(pointer.model_copy(update={"checkpoint": key, "step": step}).model_dump_json())


if __name__ == "__main__":
    sys.exit(main())
