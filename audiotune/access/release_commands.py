"""`audiotune release publish NAME VERSION --to FOLDER`: gives a release to people outside the group."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from audiotune.governance.decisions import close_decided_proposals, record_execution
from audiotune.governance.publication import publish_release
from audiotune.governance.service_client import URL
from audiotune.store import open_store


def add_release_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="publish")
    publish = verbs.add_parser(
        "publish", help="write a release with its card and licence into a folder, for people outside the group"
    )
    publish.add_argument("name")
    publish.add_argument("version")
    publish.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new folder")
    publish.add_argument(
        "--for-money", action="store_true", help="the group earns with it: everybody heard must have agreed to that"
    )
    publish.set_defaults(run=_publish)


def _publish(args: argparse.Namespace) -> int:
    store, writes = open_store(args.store), not os.environ.get(URL)
    if writes:  # elsewhere the governance service closes what is decided
        close_decided_proposals(store)
    decided = publish_release(store, args.name, args.version, args.to, for_money=args.for_money)
    print(f"{args.to} holds version {args.version} of {args.name}. It cannot be called back.")
    if decided and not decided.executed and writes:
        record_execution(store, decided.id, f"version {args.version} of {args.name} was given out")
    elif decided and not decided.executed:
        print(f"note it: python -m audiotune.access proposal done {decided.id}, in the governance service's pod")
    return 0
