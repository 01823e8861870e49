"""`audiotune consent waiting | answer | except | expire`: recordings that wait for a member's word, and parts that stay out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from audiotune.access.speakers import require_speaker
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError, SettingsError
from audiotune.governance.agreement import ALL_USES
from audiotune.governance.consent_record import ExceptedPart
from audiotune.governance.excepted import add_part, find_own_record
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.excepted_events import PartsExcepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.use_texts import compute_text_digest
from audiotune.governance.waiting import WaitsForMember, decide_waiting, list_waiting
from audiotune.governance.waiting_record import join_names
from audiotune.governance.writer import open_governance_writer
from audiotune.store import open_store

_SHORTEST = 8  # digits of a recording that may stand for all 64


def add_waiting_commands(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verbs to those of `audiotune consent`. Each handler takes the parsed arguments and returns the exit code."""
    waiting = verbs.add_parser("waiting", help="recordings that wait for somebody's word")
    waiting.add_argument("--as", dest="by", metavar="MEMBER", help="only those that wait for this member")
    waiting.set_defaults(run=_print_waiting)
    answer = verbs.add_parser("answer", help="say what may be done with a recording that you were asked about; nothing is a no")
    answer.add_argument("--uses", nargs="*", choices=ALL_USES, required=True, help="without `store` it is deleted")
    answer.set_defaults(run=_answer)
    leave_out = verbs.add_parser("except", help="leave a part of a recording out: segments that touch it are in no dataset")
    for verb in (answer, leave_out):
        verb.add_argument("recording", help=f"its SHA-256, or {_SHORTEST} of its digits or more")
        verb.add_argument("--as", dest="by", required=True, metavar="MEMBER", help="who says it; only where nobody signs in")
    leave_out.add_argument("times", nargs="*", metavar="FROM TO", help="seconds, or minutes as in 1:05.5; nothing lists the parts")
    leave_out.add_argument("--clear", action="store_true", help="leave nothing out any more")
    leave_out.set_defaults(run=_leave_out)
    expire = verbs.add_parser("expire", help="delete what was refused or not answered in time; a second call changes nothing")
    expire.set_defaults(run=_expire)
    for verb in (waiting, answer, leave_out, expire):
        verb.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")


def describe_all_waiting(state: GovernanceState, now: datetime) -> Iterator[str]:
    """What waits for anybody, in lines."""
    for recording, waits in sorted(state.waiting.items(), key=lambda item: item[1].until):
        if not waits.outcome:
            verdict = decide_waiting(state, waits, now)
            words = f"waits for {join_names(verdict.people)}, until {waits.until[:16].replace('T', ' ')} UTC"
            other = {"agreed": "everybody agreed; the next run takes it in"}.get(verdict.kind, "about to be deleted")
            yield f"{recording}\t{words if verdict.kind == 'asking' else other}"
        elif not waits.erased:
            yield f"{recording}\t{waits.outcome.replace('_', ' ')}; its copy is not deleted yet: audiotune consent expire"


def parse_time_s(text: str) -> float:
    """Seconds of `75.5` or `1:15.5`. Raises SettingsError."""
    minutes, _, seconds = text.rpartition(":")
    try:
        return round(60 * float(minutes or 0) + float(seconds), 3)
    except ValueError:
        raise SettingsError(f"{text!r} is no time", cure="write seconds, or minutes and seconds as in 1:15.5") from None


def _print_waiting(args: argparse.Namespace) -> int:
    state = open_ledger(open_store(args.store)).read_state()
    if not args.by:
        print("\n".join(describe_all_waiting(state, datetime.now(UTC))) or "nothing waits")
        return 0
    found = list_waiting(state, args.by)
    print("\n".join(_describe_own(one) for one in found) or f"nothing waits for {args.by}")
    return 0


def _describe_own(one: WaitsForMember) -> str:
    until = f"until {one.until:%Y-%m-%d %H:%M} UTC, then it is deleted" if one.until else "no end"
    by = f", brought in by {join_names(one.uploaded_by)}" if one.uploaded_by else ""
    return f"{one.recording}\t{one.why.replace('_', ' ')}{by}\t{until}"


def _answer(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    by, state = require_speaker(store, args.by), open_ledger(store).read_state()
    recording = _find_recording(state, args.recording)
    body = {"recording": recording, "uses": args.uses, "text": compute_text_digest(args.uses)}
    number = append_member_event(store, by, "recording_answered", body, via="command")
    if "store" not in args.uses:
        open_governance_writer(store).end_due_waiting()
    print(f"recorded as event {number}")
    return 0


def _leave_out(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    state = open_ledger(store).read_state()
    recording = _find_recording(state, args.recording)
    record = find_own_record(state, recording, args.by)
    parts = record.excepted if record else ()
    if args.times or args.clear:
        if args.clear == bool(args.times) or len(args.times) not in (0, 2):
            raise SettingsError("a part has a start and an end", cure="write FROM TO, as in 1:05 1:20; or --clear alone")
        parts = () if args.clear else add_part(parts, _parse_part(*args.times))
        body = dump_body(PartsExcepted(recording=recording, parts=parts))
        append_member_event(store, require_speaker(store, args.by), "parts_excepted", body, via="command")
    print("\n".join(f"{part.start_s:g} to {part.end_s:g} s" for part in parts) or "nothing is left out")
    return 0


def _parse_part(start: str, end: str) -> ExceptedPart:
    try:
        return ExceptedPart(start_s=parse_time_s(start), end_s=parse_time_s(end))
    except ValueError as e:
        raise SettingsError(f"{start} to {end} is no part", cure="let it begin at 0 or later, and end after its start") from e


def _expire(args: argparse.Namespace) -> int:
    report = open_governance_writer(open_store(args.store)).end_due_waiting()
    lines = [f"{recording}\t{outcome.replace('_', ' ')}\t{join_names(people)}" for recording, outcome, people in report.ended]
    lines += [f"{recording}\tdeleted: {versions} versions" for recording, versions in report.erased.items()]
    print("\n".join(lines) or "nothing is due")
    return 0


def _find_recording(state: GovernanceState, text: str) -> Digest:
    """The recording that a text begins. Raises ConsentError: none, or several."""
    found = [one for one in state.consents if one.startswith(text)] if len(text) >= _SHORTEST else []
    if len(found) != 1:
        what = f"{text[:64]!r} begins {'several recordings' if found else 'no recording that the ledger names'}"
        raise ConsentError(what, cure="give its whole SHA-256; `audiotune consent waiting` lists what waits")
    return found[0]
