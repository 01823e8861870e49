"""The commands `python -m audiotune.access proposal ...`: open proposals, discuss them, vote, and see how they stand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from audiotune.access.key_commands import load_member_key
from audiotune.access.speakers import require_speaker
from audiotune.errors import DecisionError
from audiotune.governance.agreement_record import PROPOSAL_KINDS
from audiotune.governance.decisions import (
    close_decided_proposals,
    draft_proposal,
    read_proposals,
    record_execution,
)
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.events import Via
from audiotune.governance.member_acts import append_member_event, sign_act
from audiotune.governance.proposal import Choice, Proposal, parse_change
from audiotune.store.port import Store


def add_proposal_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="list | show | open | comment | vote | close | done")
    verbs.add_parser("list", help="all proposals, the newest last").set_defaults(run=_print_proposals, reads=True)
    show = verbs.add_parser("show", help="one, with its votes and what was said")
    show.set_defaults(run=lambda store, a: print(describe_proposal(_find_proposal(store, a.number))), reads=True)
    opened = verbs.add_parser("open", help="propose something; it is decided by the rule that the agreement has for its kind")
    opened.add_argument("kind", choices=PROPOSAL_KINDS)
    opened.add_argument("title")
    opened.add_argument("--text", default="", help="why, in as many words as it needs")
    opened.add_argument(
        "--change", nargs="*", default=[], metavar="NAME=VALUE", help="what is to be done, as in release=jam version=3"
    )
    opened.set_defaults(run=_open)
    comment = verbs.add_parser("comment", help="say something about one")
    comment.add_argument("text")
    comment.set_defaults(
        run=lambda store, a: _say(store, a, "proposal_commented", {"proposal": a.number, "text": a.text.strip()})
    )
    vote = verbs.add_parser("vote", help="vote; the newest vote of a member counts")
    vote.add_argument("choice", choices=get_args(Choice))
    vote.set_defaults(run=_vote)
    close = verbs.add_parser("close", help="close those whose time is over")
    close.set_defaults(
        run=lambda store, a: print("\n".join(map(_describe_line, close_decided_proposals(store))) or "none is decided")
    )
    done = verbs.add_parser("done", help="note that an accepted one was carried out")
    done.add_argument("--result", default="", help="what was done")
    done.set_defaults(run=lambda store, a: record_execution(store, a.number, a.result))
    for verb in (show, comment, vote, done):
        verb.add_argument("number", type=int, help="the proposal's number")
    for verb in (opened, comment, vote):
        verb.add_argument("--as", dest="by", required=True, metavar="MEMBER", help="who says it; only where nobody signs in")
        verb.add_argument("--key", type=Path, help="file of that member's own key, which signs it (audiotune key make)")


def _open(store: Store, args: argparse.Namespace) -> None:
    body = draft_proposal(store, args.kind, args.title, args.text, parse_change(args.change))
    number = _say(store, args, "proposal_opened", dump_body(body))
    print(_describe_line(_find_proposal(store, number)))


def _vote(store: Store, args: argparse.Namespace) -> None:
    _say(store, args, "vote_cast", {"proposal": args.number, "choice": args.choice})
    print(_describe_line(_find_proposal(store, args.number)))


def _say(store: Store, args: argparse.Namespace, kind: str, body: Mapping[str, Any]) -> int:
    """What the member says, signed with their key if they name it; the event's number."""
    by = require_speaker(store, args.by)
    signature = sign_act(store, load_member_key(args.key), kind, by, body) if args.key else None
    via: Via = "member_key" if signature else "command"
    return append_member_event(store, by, kind, body, via=via, signature=signature)


def _print_proposals(store: Store, args: argparse.Namespace) -> None:
    print("\n".join(map(_describe_line, read_proposals(store).values())) or "there are no proposals")


def _find_proposal(store: Store, number: int) -> Proposal:
    proposals = read_proposals(store)
    if number not in proposals:
        raise DecisionError(f"there is no proposal {number}", cure="look at the list of proposals")
    return proposals[number]


def describe_proposal(proposal: Proposal) -> str:
    """A proposal with everything that was said."""
    change = ", ".join(f"{name} {value}" for name, value in proposal.change.items())
    votes = [f"  {who}: {choice}" for who, choice in sorted(proposal.votes.items())]
    said = [f"  {comment.by}, {comment.time[:16].replace('T', ' ')}: {comment.text}" for comment in proposal.comments]
    rule = f"{proposal.rule.needs.replace('_', ' ')}, quorum {proposal.rule.quorum:.0%}, until {proposal.ends:%Y-%m-%d %H:%M}"
    lines = [_describe_line(proposal), proposal.text, change, f"decided by: {rule}", proposal.describe_result(), *votes, *said]
    return "\n".join(filter(None, lines))


def _describe_line(proposal: Proposal) -> str:
    state = "carried out" if proposal.executed else proposal.outcome or f"open until {proposal.ends:%Y-%m-%d %H:%M}"
    counts = f"{proposal.count('yes')} yes, {proposal.count('no')} no, {proposal.count('abstain')} abstain"
    return f"{proposal.id}\t{proposal.kind.replace('_', ' ')}\t{proposal.title}\t{state}\t{counts} of {len(proposal.voters)}"
