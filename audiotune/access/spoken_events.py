"""What a command records in a member's name: with their password, or on an operator's word where nobody signs in."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotune.access.key_commands import load_member_key
from audiotune.access.speakers import require_speaker
from audiotune.access.writer import open_access_writer
from audiotune.domain.recording import Digest
from audiotune.errors import AccessError, ConsentError
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event, sign_act
from audiotune.store.port import Store

SHORTEST = 8  # digits of a recording's id that may stand for it


def add_speaker_arguments(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments that say who speaks."""
    verb.add_argument("--as", dest="by", metavar="MEMBER", help="who says it; only where nobody signs in")
    verb.add_argument("--sign-in", metavar="MEMBER", help="who says it, with the password, which is asked for")
    verb.add_argument("--key", type=Path, help="file of the member's own key, which signs it (audiotune key make)")


def record_spoken_event(store: Store, args: argparse.Namespace, kind: str, body: Mapping[str, Any]) -> int:
    """The number of the event. Raises AccessError: nobody is named, or the password does not fit."""
    if bool(args.by) == bool(args.sign_in):
        raise AccessError("nobody says this", cure="name --sign-in MEMBER, or --as MEMBER where nobody signs in")
    if args.sign_in:
        return _record_as_member(store, args.sign_in, args.key, kind, body)
    by = require_speaker(store, args.by)
    signature = sign_act(store, load_member_key(args.key), kind, by, body) if args.key else None
    return append_member_event(store, by, kind, body, via="member_key" if signature else "command", signature=signature)


def _record_as_member(store: Store, member: str, key: Path | None, kind: str, body: Mapping[str, Any]) -> int:
    """Signs in with the member's password first."""
    writer = open_access_writer(store)
    typed = getpass.getpass(f"Password of {member}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    found = writer.verify_password(member, typed)
    if found is None:
        raise AccessError("name and password do not fit", cure="type them again")
    return writer.record_event(
        found.ticket, kind, body, sign_act(store, load_member_key(key), kind, member, body) if key else None
    )


def find_recordings(state: GovernanceState, named: Sequence[str]) -> list[Digest]:
    """The ids that begin so. Raises ConsentError: none does, or several do."""
    found = []
    for text in named:
        fitting = [id for id in state.consents if len(text) >= SHORTEST and id.startswith(text.lower())]
        if len(fitting) != 1:
            what = f"{len(fitting)} recordings begin" if fitting else "no recording that somebody agreed to begins"
            raise ConsentError(f"{what} with {text[:64]!r}", cure=f"give {SHORTEST} digits of its SHA-256 or more")
        found.append(fitting[0])
    return found
