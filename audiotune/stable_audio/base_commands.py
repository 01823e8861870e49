"""`audiotune base fetch NAME` copies a base model into the store ahead of time; `audiotune base list` shows which ones are there."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from audiotune.errors import AudioTuneError, ModelError, StoreError
from audiotune.reporting.progress import print_progress
from audiotune.stable_audio.base_index import BaseIndex, list_base_indexes, read_base_index
from audiotune.stable_audio.base_models import find_shipped_folder, import_base_folder, mirror_base
from audiotune.stable_audio.model_folder import CONFIG, WEIGHTS
from audiotune.store import open_store
from audiotune.store.port import Store


def add_base_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="fetch | list")
    fetch = verbs.add_parser("fetch", help="copy bases of Hugging Face into the store; goes on where an earlier try ended")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="as in stabilityai/stable-audio-open-1.0")
    fetch.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="take it from this folder instead of the network"
    )
    fetch.add_argument(
        "--wait-s", type=float, default=0.0, metavar="S", help="how long to wait for a store that does not answer yet"
    )
    fetch.set_defaults(run=_fetch_bases)
    verbs.add_parser("list", help="bases in the store and shipped ones").set_defaults(run=_list_bases)


def _fetch_bases(args: argparse.Namespace) -> int:
    """Fetches each base; the exit code is 1 when one failed, after all were tried."""
    if args.folder and len(args.names) != 1:
        raise ModelError("one folder holds one base", cure="name one base with --from")
    store, failed = open_store(args.store), 0
    _wait_for_store(store, args.wait_s)
    for name in args.names:
        try:
            print(_fetch_base(store, name, args.folder), flush=True)
        except AudioTuneError as e:
            print(f"audiotune: {e}", file=sys.stderr, flush=True)
            failed += 1
    return 1 if failed else 0


def _wait_for_store(store: Store, limit_s: float) -> None:
    """Waits until the store lets us read: beside us its bucket and our key may only be made. Raises StoreError after that time."""
    ends = time.monotonic() + limit_s
    while True:
        try:
            next(list_base_indexes(store), None)
        except StoreError:
            if time.monotonic() >= ends:
                raise
            time.sleep(2.0)
        else:
            return


def _fetch_base(store: Store, name: str, folder: Path | None) -> str:
    """What was done, in words."""
    if folder is None and (find_shipped_folder() / name / CONFIG).is_file():
        return f"{name} is shipped: nothing to fetch"
    if folder is not None:
        index = import_base_folder(store, name, folder.expanduser())
    else:
        known = read_base_index(store, name)
        if known and all(store.exists(key) for key in known.files.values()):
            return f"{name} is in the store already: {_describe_base(store, known)}"
        index = mirror_base(store, name, None, print_progress)
    return f"{name} is in the store: {_describe_base(store, index)}"


def _describe_base(store: Store, index: BaseIndex) -> str:
    gigabytes = sum(store.size(key) for key in index.files.values()) / 1e9
    licence = ", ".join(index.notices) or "no licence file"
    return f"{gigabytes:.2f} GB, digest {index.digest[:16]}, {licence}"


def _list_bases(args: argparse.Namespace) -> int:
    shipped = sorted(path.parent for path in find_shipped_folder().glob(f"*/{CONFIG}"))
    for folder in shipped:
        print(f"{folder.name}: shipped, {(folder / WEIGHTS).stat().st_size / 1e9:.2f} GB")
    store = open_store(args.store)
    for index in sorted(list_base_indexes(store), key=lambda index: index.name):
        missing = [path for path, key in index.files.items() if not store.exists(key)]
        print(f"{index.name}: " + (f"lacks {', '.join(missing)}; fetch it again" if missing else _describe_base(store, index)))
    return 0
