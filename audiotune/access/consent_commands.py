"""`audiotune consent show | give | narrow | withdraw | expire`: what may be done with a member's recordings."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, get_args

from audiotune.access.spoken_events import SHORTEST, add_speaker_arguments, find_recordings, record_spoken_event
from audiotune.access.waiting_commands import ExceptedSteps, add_waiting_commands
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, ConsentError
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent_record import Consent, StandingConsent, find_standing
from audiotune.governance.last_day import format_last_day, parse_last_day
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.use_texts import build_use_text, compute_text_digest
from audiotune.governance.waiting_upkeep import end_due_waiting
from audiotune.governance.withdrawal_record import Erasure
from audiotune.store import Store, open_store


class WithdrawalSteps(ExceptedSteps, Protocol):
    """What stands beside the act of taking back; the package `withdrawal`, which knows this one, has it."""

    def foresee(self, store: Store, member: str, recordings: Sequence[Digest], uses: Sequence[Use]) -> Iterable[str]:
        """What follows, in sentences. Raises GovernanceError where the act would."""
        ...


def add_consent_commands(group: argparse.ArgumentParser, steps: WithdrawalSteps) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="show | give | narrow | withdraw | waiting | answer | except | expire")
    show = verbs.add_parser("show", help="who agrees to what; without a recording what each member says of all of theirs")
    show.add_argument("--of", metavar="MEMBER", help="of this member alone")
    show.set_defaults(run=_show)
    give = verbs.add_parser("give", help="agree to uses, besides those agreed to before")
    give.add_argument("--no-end", action="store_true", help="take away the end that was said before")
    give.set_defaults(run=_give)
    narrow = verbs.add_parser("narrow", help="take back some uses, or let everything end earlier")
    narrow.set_defaults(run=_narrow)
    withdraw = verbs.add_parser("withdraw", help="take back everything, or these uses, and say what is to be erased")
    withdraw.add_argument("--why", default="")
    withdraw.add_argument("--erase", choices=get_args(Erasure), default="none", help="what is deleted (default none)")
    withdraw.add_argument("--dry-run", action="store_true", help="only say what follows")
    withdraw.set_defaults(run=lambda args: _withdraw(args, steps))
    for verb in (show, give, narrow, withdraw):
        verb.add_argument(
            "recordings", nargs="*", metavar="RECORDING", help=f"its SHA-256, or its first {SHORTEST} digits or more"
        )
    for verb in (give, narrow, withdraw):
        verb.add_argument("--all", action="store_true", help="all recordings of the member, also those that come later")
        verb.add_argument("--uses", nargs="+", choices=ALL_USES, default=[], help="keep, train, ...: which uses it is about")
        add_speaker_arguments(verb)
    for verb in (give, narrow):
        verb.add_argument("--until", metavar="DATE", help="the last day on which it counts, as in 2027-03-31")
    expire = verbs.add_parser("expire", help="end what waits too long for an answer, and delete what waits no more")
    expire.set_defaults(run=_expire)
    add_waiting_commands(verbs, steps)


def _show(args: argparse.Namespace) -> int:
    state = open_ledger(open_store(args.store)).read_state()
    print("\n".join(describe_consents(state, find_recordings(state, args.recordings), args.of or "")) or "nobody said anything")
    return 0


def _give(args: argparse.Namespace) -> int:
    if not (args.uses or args.until or args.no_end):
        raise ConsentError("nothing is given", cure="name --uses, --until or --no-end")
    uses = [use for use in ALL_USES if use in args.uses or (args.uses and use == "store")]  # what is used is kept
    if uses:
        print(build_use_text(uses))
    body = {"uses": uses, "text": compute_text_digest(uses), "no_end": args.no_end, **_name_end(args)}
    return _say(args, "consent_given", body)


def _narrow(args: argparse.Namespace) -> int:
    if not (args.uses or args.until):
        raise ConsentError("nothing is taken back", cure="name --uses or --until; `withdraw` takes back everything")
    uses = list(ALL_USES) if "store" in args.uses else list(args.uses)  # what is not kept is not used
    return _say(args, "consent_narrowed", {"uses": uses, **_name_end(args)})


def _withdraw(args: argparse.Namespace, steps: WithdrawalSteps) -> int:
    store = open_store(args.store)
    uses = list(ALL_USES) if "store" in args.uses else list(args.uses)
    chosen = find_recordings(open_ledger(store).read_state(), args.recordings)
    print("\n".join(steps.foresee(store, args.by or args.sign_in or "", chosen, uses)))
    if args.dry_run:
        return 0
    code = _say(args, "withdrawal_recorded", {"uses": uses, "why": args.why, "erase": args.erase})
    print("\n".join(steps.follow(store)))
    return code


def _expire(args: argparse.Namespace) -> int:
    report = end_due_waiting(open_store(args.store))
    lines = [f"{recording[:12]}\t{outcome}\t{' '.join(people)}" for recording, outcome, people in report.ended]
    lines += [f"{recording[:12]}\tdeleted, {versions} versions" for recording, versions in report.erased.items()]
    print("\n".join(lines) or "nothing is due")
    return 0


def describe_consents(
    state: GovernanceState, recordings: Sequence[Digest], member: str, now: datetime | None = None
) -> Iterator[str]:
    """Lines: of recordings, who agrees to what; without them, what members say of all of theirs, and their recordings."""
    moment = now or datetime.now(UTC)
    if not recordings and state.agreement:
        for person in state.agreement.members:
            if member in ("", person.id):
                word = find_standing(state.standing, state.agreement, person.id)
                origin = f"event {word.event}" if word.event else "as the agreement says"
                yield f"all of theirs\t{person.id}\t{_describe_word(word, moment)}\t{origin}"
    shown = recordings or ([] if not member else _list_own(state, member))
    for recording in shown:
        for who, record in sorted(state.consents.get(recording, {}).items()):
            if member in ("", who):
                agreed = _describe_word(record, moment) if record.heard else "not heard in it"
                yield f"{recording[:12]}\t{who}\t{agreed}\t{record.basis}"


def _describe_word(word: Consent | StandingConsent, now: datetime) -> str:
    uses = " ".join(use for use in ALL_USES if word.agrees_to(use, now)) or "nothing"
    if word.has_ended(now):
        return f"nothing, ended after {format_last_day(word.until)}"
    return f"{uses}, until {format_last_day(word.until)}" if word.until else uses


def _name_end(args: argparse.Namespace) -> dict[str, str]:
    return {"until": parse_last_day(args.until).isoformat()} if args.until else {}


def _say(args: argparse.Namespace, kind: str, body: Mapping[str, Any]) -> int:
    """What the member says, for the recordings that the arguments name, signed with their key if they name it."""
    store = open_store(args.store)
    if bool(args.recordings) == args.all:
        raise ConsentError("it is about no recording" if not args.all else "some recordings, or all?", cure="name some, or --all")
    recordings = find_recordings(open_ledger(store).read_state(), args.recordings)
    said = {**body, **({"recordings": recordings} if recordings else {})}
    number = record_spoken_event(store, args, kind, said)
    print(f"event {number}: every gate asks from now on")
    return 0


def _list_own(state: GovernanceState, member: str) -> list[Digest]:
    if state.agreement is None:
        raise AgreementError("the store holds no agreement yet", cure="make the agreement first")
    return sorted(id for id, people in state.consents.items() if member in people and people[member].heard)
