"""`audiotune consent waiting | answer | except`: recordings that wait for a member's word, and parts that stay out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from audiotune.access.spoken_events import SHORTEST, add_speaker_arguments, find_recordings, record_spoken_event
from audiotune.domain.recording import Digest
from audiotune.errors import SettingsError
from audiotune.governance.agreement import ALL_USES
from audiotune.governance.consent_record import RecordingPart
from audiotune.governance.excepted import find_own_record, parse_part
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.excepted_events import PartsExcepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.use_texts import compute_text_digest
from audiotune.governance.waiting import WaitsForMember, decide_waiting, list_waiting
from audiotune.governance.waiting_record import join_names
from audiotune.governance.writer import open_governance_writer
from audiotune.store import Store, open_store


class ExceptedSteps(Protocol):
    """What stands beside the act of leaving a part out; the package `withdrawal`, which knows this one, has it."""

    def foresee_excepted(self, store: Store, member: str, recording: Digest, parts: Sequence[RecordingPart]) -> Iterable[str]:
        """What follows, in sentences. Raises GovernanceError where the act would."""
        ...

    def follow(self, store: Store) -> Iterable[str]:
        """Does what must follow, where this program may; in sentences."""
        ...


def add_waiting_commands(verbs: argparse._SubParsersAction[argparse.ArgumentParser], steps: ExceptedSteps) -> None:
    """Adds the verbs to those of `audiotune consent`. Each handler takes the parsed arguments and returns the exit code."""
    waiting = verbs.add_parser("waiting", help="recordings that wait for somebody's word")
    waiting.add_argument("--as", dest="by", metavar="MEMBER", help="only those that wait for this member")
    waiting.set_defaults(run=_print_waiting)
    answer = verbs.add_parser("answer", help="say what may be done with a recording that you were asked about; nothing is a no")
    answer.add_argument("--uses", nargs="*", choices=ALL_USES, required=True, help="without `store` it is deleted")
    answer.set_defaults(run=_answer)
    leave_out = verbs.add_parser("except", help="leave a part of a recording out: segments that touch it are in no dataset")
    for verb in (answer, leave_out):
        verb.add_argument("recording", help=f"its SHA-256, or its first {SHORTEST} digits or more")
        add_speaker_arguments(verb)
    leave_out.add_argument(
        "times", nargs="*", metavar="FROM TO", help="seconds, or minutes as in 1:05.5; nothing lists the parts"
    )
    leave_out.add_argument("--clear", action="store_true", help="leave nothing out any more")
    leave_out.add_argument("--dry-run", action="store_true", help="only say what follows")
    leave_out.set_defaults(run=lambda args: _leave_out(args, steps))


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
    (recording,) = find_recordings(open_ledger(store).read_state(), [args.recording])
    body = {"recording": recording, "uses": args.uses, "text": compute_text_digest(args.uses)}
    number = record_spoken_event(store, args, "recording_answered", body)
    if "store" not in args.uses:
        open_governance_writer(store).end_due_waiting()
    print(f"recorded as event {number}")
    return 0


def _leave_out(args: argparse.Namespace, steps: ExceptedSteps) -> int:
    store = open_store(args.store)
    (recording,) = find_recordings(open_ledger(store).read_state(), [args.recording])
    if args.times or args.clear:
        if len(args.times) not in (0, 2):
            raise SettingsError("a part has a start and an end", cure="write FROM TO, as in 1:05 1:20")
        added = (parse_part(*args.times),) if args.times else ()
        if added:
            print("\n".join(steps.foresee_excepted(store, args.by or args.sign_in or "", recording, added)))
        if args.dry_run:
            return 0
        body = dump_body(PartsExcepted(recording=recording, parts=added, clear=args.clear))
        record_spoken_event(store, args, "parts_excepted", body)
        print("\n".join(steps.follow(store)))
    record = find_own_record(open_ledger(store).read_state(), recording, args.by or args.sign_in or "")
    parts = record.excepted if record else ()
    print("\n".join(f"{part.start_s:g} to {part.end_s:g} s" for part in parts) or "nothing is left out")
    return 0
