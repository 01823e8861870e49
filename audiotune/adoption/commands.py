"""`audiotune adapter`: gives adapters to other programs and brings those of others in."""

from __future__ import annotations

import argparse
from pathlib import Path

from audiotune.errors import SettingsError
from audiotune.store import open_store


def add_adapter_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="export | import")
    export = verbs.add_parser("export", help="write the adapter of a release as peft or stable-audio-tools reads it")
    export.add_argument("release", metavar="NAME:VERSION")
    export.add_argument("--format", choices=("peft", "stable-audio-tools"), required=True, help="Stable Audio 3 reads the second")
    export.add_argument("--to", type=Path, required=True, metavar="PATH", help="a new folder (peft) or .safetensors file")
    export.set_defaults(run=_export)
    imported = verbs.add_parser("import", help="bring an adapter of others in: to begin a training with, or as a release")
    imported.add_argument("path", type=Path, help="a folder of peft, or a .safetensors or .ckpt of stable-audio-tools")
    imported.add_argument("--base", required=True, help="the base model that it was tuned from, as in recipes")
    imported.add_argument("--by", required=True, help="who made it")
    imported.add_argument("--licence", required=True, help="the licence that its maker gave it, as in CC-BY-4.0")
    imported.add_argument("--release", metavar="NAME", help="also register it, as a candidate of this name")
    imported.set_defaults(run=_import)


def _export(args: argparse.Namespace) -> int:
    from audiotune.adoption.foreign_adapters import export_adapter

    name, _, version = args.release.rpartition(":")
    if not name:
        raise SettingsError(f"{args.release!r} names no version", cure="write NAME:VERSION, as in grit:2")
    written = export_adapter(open_store(args.store), name, version, args.format, args.to)
    print(f"{written} holds the adapter of {args.release} for {args.format}.")
    return 0


def _import(args: argparse.Namespace) -> int:
    from audiotune.adoption.foreign_adapters import import_adapter, register_adapter

    store = open_store(args.store)
    adapter = import_adapter(store, args.path, args.base, args.by, args.licence)
    ranks = sorted({a.shape[0] for a, _ in adapter.weights.pairs.values()})
    print(
        f"{adapter.weights.kind} of rank {' and '.join(map(str, ranks))} for {len(adapter.weights.pairs)} layers of {args.base}"
    )
    print(f'to begin a training with it, write into [finetune]: mode = "lora", lora_start = "{adapter.key}"')
    if args.release:
        made = register_adapter(store, adapter, args.base, args.release)
        print(f"{made.name} version {made.version} is a candidate: {adapter.origin.words}. It plays once it is champion")
    return 0
