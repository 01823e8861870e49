"""`audiotune agreement show | diff | propose | sign | leave | export`: what a member does with the group's agreement."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from audiotune.access.speakers import require_speaker
from audiotune.errors import AgreementError, SourceError
from audiotune.governance import Agreement, load_agreement
from audiotune.governance.agreement_changes import describe_changes, list_deciding_kinds
from audiotune.governance.agreement_toml import format_agreement
from audiotune.governance.agreement_words import KIND_WORDS, describe_licence, describe_rule
from audiotune.governance.decisions import draft_agreement_proposal, read_proposals
from audiotune.governance.ledger.agreement_events import complete_agreement
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.use_texts import USE_WORDS
from audiotune.store import open_store
from audiotune.store.atomic_files import write_atomic_file


def add_agreement_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="show | diff | propose | sign | leave | export")
    show = verbs.add_parser("show", help="the version in force, and who has signed it")
    show.set_defaults(run=_show)
    diff = verbs.add_parser("diff", help="what an edited agreement.toml changes, in words, and how that is decided")
    diff.set_defaults(run=_diff)
    propose = verbs.add_parser("propose", help="propose it; it takes force when the group accepts it")
    propose.add_argument("--title", default="", help="in one sentence (default: the first change)")
    propose.add_argument("--text", default="", help="why")
    propose.set_defaults(run=_propose)
    sign = verbs.add_parser("sign", help="sign the version in force, which you have read")
    sign.set_defaults(run=_sign)
    leave = verbs.add_parser("leave", help="leave the group; nobody is asked, and nothing of yours passes a gate from then on")
    leave.add_argument("--why", default="")
    leave.set_defaults(run=_leave)
    export = verbs.add_parser("export", help="the version in force as agreement.toml")
    export.set_defaults(run=_export)
    for verb in (diff, propose):
        verb.add_argument("file", type=Path, help="agreement.toml; - reads it from stdin")
    export.add_argument("file", type=Path, help="file to write; - prints it")
    for verb in (propose, sign, leave):
        verb.add_argument("--as", dest="by", required=True, metavar="MEMBER", help="who says it; only where nobody signs in")


def describe_agreement(state: GovernanceState, agreement: Agreement) -> Iterator[str]:
    """The version in force in lines, with who has signed it."""
    yield f"{agreement.group}, version {agreement.version} ({agreement.digest[:12]})"
    yield f"the group may: {', '.join(USE_WORDS[use] for use in agreement.allowed_uses) or 'nothing'}"
    yield f"recordings: {describe_licence(agreement.recordings_licence)}"
    yield f"releases: {describe_licence(agreement.weights_licence)}"
    yield f"from outside: {', '.join(map(describe_licence, agreement.accepted_licences)) or 'nothing'}"
    yield from (f"to {KIND_WORDS[kind]}: {describe_rule(rule)}" for kind, rule in agreement.decisions.items())
    signed = state.signatures.get(agreement.digest, {})
    for member in agreement.members:
        word = (
            "has left" if member.left else f"signed (event {signed[member.id]})" if member.id in signed else "has not signed yet"
        )
        yield f"{member.id}\t{member.name}\t{word}"


def load_given_agreement(path: Path) -> Agreement:
    """The agreement in a file, or on stdin for `-`."""
    return load_agreement(sys.stdin.buffer.read() if str(path) == "-" else path)


def _show(args: argparse.Namespace) -> int:
    state, agreement = _read_in_force(args)
    print("\n".join(describe_agreement(state, agreement)))
    return 0


def _diff(args: argparse.Namespace) -> int:
    state = open_ledger(open_store(args.store)).read_state()
    new = complete_agreement(state, load_given_agreement(args.file))
    changes = describe_changes(state.agreement, new)
    print("\n".join(changes) or "nothing differs from the version in force")
    kinds = list_deciding_kinds(state.agreement, new)
    if kinds and state.agreement:
        print(f"this needs a decision of the group: {'; '.join(KIND_WORDS[kind] for kind in kinds)}")
    return 0


def _propose(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    state = open_ledger(store).read_state()
    body = draft_agreement_proposal(state, load_given_agreement(args.file), args.title, args.text)
    number = append_member_event(store, require_speaker(store, args.by), "proposal_opened", dump_body(body), via="command")
    opened = read_proposals(store)[number]
    print("\n".join(describe_changes(state.agreement, body.agreement)) if body.agreement else "")
    print(f"proposal {number} is open until {opened.ends:%Y-%m-%d %H:%M} UTC: {describe_rule(opened.rule)}")
    return 0


def _sign(args: argparse.Namespace) -> int:
    _, agreement = _read_in_force(args)
    store = open_store(args.store)
    body = {"agreement": agreement.digest}
    number = append_member_event(store, require_speaker(store, args.by), "agreement_signed", body, via="command")
    print(f"event {number}: {args.by} has signed version {agreement.version}")
    return 0


def _leave(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    number = append_member_event(store, require_speaker(store, args.by), "member_left", {"why": args.why}, via="command")
    print(f"event {number}: {args.by} has left the group")
    return 0


def _export(args: argparse.Namespace) -> int:
    _, agreement = _read_in_force(args)
    text = format_agreement(agreement)
    if str(args.file) == "-":
        print(text, end="")
        return 0
    try:
        write_atomic_file(args.file, text)
    except OSError as e:
        raise SourceError(f"cannot write it: {e.strerror}", where=str(args.file), cure="give another file") from e
    print(f"{args.file} holds version {agreement.version}")
    return 0


def _read_in_force(args: argparse.Namespace) -> tuple[GovernanceState, Agreement]:
    state = open_ledger(open_store(args.store)).read_state()
    if state.agreement is None:
        raise AgreementError("the store holds no agreement yet", cure="make it in the studio, or publish agreement.toml")
    return state, state.agreement
