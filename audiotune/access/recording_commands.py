"""The commands `python -m audiotune.access recording ...`: who is heard in a recording, and what they agree to."""

from __future__ import annotations

import argparse
from typing import get_args

from audiotune.access.accounts import list_accounts
from audiotune.errors import AgreementError, ForbiddenError
from audiotune.governance import (
    Agreement,
    Consent,
    decide_policy,
    list_heard,
    read_consents,
    read_current_agreement,
    record_decision,
)
from audiotune.governance.agreement import ALL_USES
from audiotune.governance.consent import record_consents
from audiotune.governance.policy import Gate
from audiotune.store.port import Store


def add_recording_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="show | consent | decide")
    show = verbs.add_parser("show", help="everybody ever named for it, what they agree to, and what each gate says")
    show.set_defaults(run=_print_recording, reads=True)
    consent = verbs.add_parser("consent", help="record what one member agrees to; it counts from now on")
    consent.add_argument("member")
    consent.add_argument("--uses", nargs="*", choices=ALL_USES, required=True, help="none takes everything back")
    consent.set_defaults(run=_record_consent)
    decide = verbs.add_parser("decide", help="an owner decides who is heard in it; nobody else is asked any more")
    decide.add_argument("--heard", nargs="+", metavar="MEMBER", required=True)
    decide.add_argument("--by", metavar="OWNER", required=True, help="who decides; kept in the record")
    decide.add_argument("--because", metavar="WORDS", required=True, help="why; kept in the record")
    decide.set_defaults(run=_record_decision)
    for verb in (show, consent, decide):
        verb.add_argument("recording", help="its SHA-256, as reports and release cards name it")


def _print_recording(store: Store, args: argparse.Namespace) -> None:
    agreement, consents = _require_agreement(store), read_consents(store, [args.recording])
    heard = list_heard(consents, {args.recording: ()})[args.recording]
    for recording, who in sorted(consents):
        if recording == args.recording:
            record = consents[recording, who]
            agrees = " ".join(record.uses) or "nothing"
            print(f"{who}\t{agrees if who in heard else 'not heard'}\t{record.time:%Y-%m-%d}\t{record.basis}")
    for gate in get_args(Gate):
        reasons = decide_policy(gate, agreement, consents, {args.recording: ()}).reasons
        print(f"{gate}: {'; '.join(reasons) or 'open'}")


def _record_consent(store: Store, args: argparse.Namespace) -> None:
    agreement = _require_agreement(store)
    if agreement.find_member(args.member) is None:
        raise ForbiddenError(f"{args.member[:64]!r} is no member in the agreement", cure="add them to the agreement first")
    consent = Consent(
        recording=args.recording,
        contributor=args.member,
        uses=tuple(args.uses),
        basis="command line",
        agreement=agreement.digest,
    )
    print(record_consents(store, [consent], by=args.member))


def _record_decision(store: Store, args: argparse.Namespace) -> None:
    agreement = _require_agreement(store)
    member = agreement.find_member(args.by)
    owners = {account.member for account in list_accounts(store) if account.role == "owner"}
    if member is None or member.left or (owners and args.by not in owners):
        who = f"of the owners {', '.join(sorted(owners))}" if owners else "who is in the group"
        raise ForbiddenError(f"{args.by[:64]!r} may not decide this", cure=f"name a member {who}")
    for consent in record_decision(store, agreement, args.recording, args.heard, args.by, args.because):
        print(f"{consent.contributor}\t{' '.join(consent.uses) if consent.heard else 'not heard'}")


def _require_agreement(store: Store) -> Agreement:
    agreement = read_current_agreement(store)
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="publish it: agreement publish FILE")
    return agreement
