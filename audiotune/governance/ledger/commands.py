"""`audiotune ledger verify | show | export`: what a member can do with the ledger alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiotune.errors import LedgerError, SourceError
from audiotune.governance.ledger.events import LedgerEvent, event_key
from audiotune.governance.ledger.ledger import open_ledger, read_event
from audiotune.governance.ledger.verification import LedgerReport, name_voucher, read_events, verify_events
from audiotune.store import open_store
from audiotune.store.atomic_files import write_atomic_file

_SHOWN = 20


def add_ledger_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="verify | show | export")
    verify = verbs.add_parser("verify", help="check every event: exit code 0 when the ledger is whole, 2 when it was changed")
    verify.add_argument("--file", type=Path, help="an exported ledger instead of a store's")
    verify.add_argument(
        "--seen", default="", help="digest of the newest event as you once saw it: nothing before it may have changed"
    )
    verify.set_defaults(run=_verify)
    show = verbs.add_parser("show", help="the newest events, the newest last")
    show.add_argument("--last", type=int, default=_SHOWN, help=f"how many (default {_SHOWN})")
    show.set_defaults(run=_show)
    export = verbs.add_parser("export", help="the whole ledger as a file, one event a line: to keep, and to verify anywhere")
    export.add_argument("file", type=Path)
    export.set_defaults(run=_export)


def _verify(args: argparse.Namespace) -> int:
    events = _read_file(args.file) if args.file else read_events(open_store(args.store))
    report = verify_events(events, args.seen)
    print("\n".join(describe_report(report)))
    return 0 if report.is_sound else 2


def describe_report(report: LedgerReport) -> Iterator[str]:
    """The report in sentences."""
    if not report.number and report.is_sound:
        yield "there is no ledger yet: it begins with the first agreement"
        return
    yield f"{report.number} events, the newest is {report.head}"
    yield from (f"  {count} {words}" for words, count in report.vouched.most_common())
    yield from (f"note: {notice}" for notice in report.notices)
    yield from (f"FAULT: {fault}" for fault in report.faults)
    yield (
        "keep the digest of the newest event: with --seen it proves later that nothing before it was changed"
        if (report.is_sound)
        else "the ledger was changed: compare it with a backup or with an export of another member"
    )


def _show(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    number = open_ledger(store).read_state().number
    for one in range(max(1, number - max(1, args.last) + 1), number + 1):
        print(describe_event(read_event(store, one)))
    return 0


def describe_event(event: LedgerEvent) -> str:
    """An event on one line: number, time, who, kind, on whose word."""
    when, what = event.time[:19].replace("T", " "), event.kind.replace("_", " ")
    return f"{event.number:>6}  {when}  {event.by or 'the service'}: {what} ({name_voucher(event)})"


def _export(args: argparse.Namespace) -> int:
    data = b"".join(event + b"\n" for _, event in read_events(open_store(args.store)))
    if not data:
        raise LedgerError("the store holds no ledger yet", cure="it begins with the first agreement")
    try:
        write_atomic_file(args.file, data)
    except OSError as e:
        raise SourceError(f"cannot write it: {e.strerror}", where=str(args.file), cure="give another file") from e
    print(f"{args.file} holds {len(data.splitlines())} events")
    return 0


def _read_file(path: Path) -> Iterable[tuple[str, bytes]]:
    """The events of an export, as if they lay in a store."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as e:
        raise SourceError(f"cannot read it: {e.strerror}", where=str(path), cure="check the path") from e
    return [(event_key(number), line) for number, line in enumerate(lines, start=1)]
