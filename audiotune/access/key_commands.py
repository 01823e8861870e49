"""`audiotune key make | show | list | register | revoke | confirm`: a member's own key, with which they sign what they say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from audiotune.access.speakers import require_speaker
from audiotune.errors import SettingsError, SourceError
from audiotune.governance.ledger.keys import SigningKey, make_key_file, read_key_file
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import MemberKey
from audiotune.governance.member_acts import append_member_event
from audiotune.store import open_store

_FILE = platformdirs.user_config_path("audiotune", appauthor=False) / "member_key"


def add_key_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    verbs = group.add_subparsers(required=True, metavar="make | show | list | register | revoke | confirm")
    make = verbs.add_parser("make", help="a new key in a file that only you can read")
    make.set_defaults(run=_make_key)
    show = verbs.add_parser("show", help="its public half, which you give to the group on the studio's page Keys")
    show.set_defaults(run=_show_key)
    listing = verbs.add_parser("list", help="the keys that the group's ledger knows")
    listing.set_defaults(run=_list_keys)
    register = verbs.add_parser("register", help="put the public half into the ledger")
    register.add_argument("--label", default="", help="what you call it, as in laptop")
    register.set_defaults(run=_register_key)
    revoke = verbs.add_parser("revoke", help="say that a key of yours is lost; it ends when another member confirms it")
    revoke.set_defaults(
        run=lambda args: _say(args, "member_key_lost", {"key_id": args.id}, "it ends when another member confirms it")
    )
    confirm = verbs.add_parser("confirm", help="confirm that another member lost a key")
    confirm.set_defaults(run=lambda args: _say(args, "key_loss_confirmed", {"key_id": args.id}, f"the key {args.id} has ended"))
    for verb in (make, show, register):
        verb.add_argument("--file", type=Path, default=_FILE, help=f"default: {_FILE}")
    for verb in (listing, register, revoke, confirm):
        verb.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    for verb in (register, revoke, confirm):
        verb.add_argument("--as", dest="by", required=True, metavar="MEMBER", help="who says it; only where nobody signs in")
    for verb in (revoke, confirm):
        verb.add_argument("id", help="the key's id: 16 hexadecimal digits")


def load_member_key(path: Path) -> SigningKey:
    """The key in a member's file. Raises SettingsError: none is there, or others may read it."""
    try:
        return read_key_file(path)
    except FileNotFoundError:
        raise SettingsError("there is no key", where=str(path), cure="make one: audiotune key make") from None
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"the key cannot be read: {e}", where=str(path), cure="check the file") from e


def describe_key(id: str, key: MemberKey) -> str:
    """A key of the ledger on one line."""
    state = f"ended with event {key.revoked}" if key.revoked else "lost, waits for another member" if key.lost else "counts"
    return f"{id}\t{key.member}\t{key.label}\t{state}"


def _make_key(args: argparse.Namespace) -> int:
    try:
        key = make_key_file(args.file)
    except FileExistsError:
        raise SettingsError("there is a key already", where=str(args.file), cure="keep it, or give another --file") from None
    except OSError as e:
        raise SourceError(f"cannot write it: {e.strerror}", where=str(args.file), cure="give another --file") from e
    print(
        f"{args.file} holds your key {key.id}. Nobody else may see that file. Now register its public half:\n{key.public.hex()}"
    )
    return 0


def _show_key(args: argparse.Namespace) -> int:
    key = load_member_key(args.file)
    print(f"{key.id}\t{key.public.hex()}")
    return 0


def _list_keys(args: argparse.Namespace) -> int:
    keys = open_ledger(open_store(args.store)).read_state().member_keys
    print("\n".join(describe_key(id, key) for id, key in keys.items()) or "no member has a key")
    return 0


def _register_key(args: argparse.Namespace) -> int:
    key = load_member_key(args.file)
    return _say(args, "member_key_registered", {"key": key.public.hex(), "label": args.label}, f"the key {key.id} is {args.by}'s")


def _say(args: argparse.Namespace, kind: str, body: Mapping[str, Any], done: str) -> int:
    store = open_store(args.store)
    number = append_member_event(store, require_speaker(store, args.by), kind, body, via="command")
    print(f"event {number}: {done}")
    return 0
