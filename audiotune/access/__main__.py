"""Commands for owners: `python -m audiotune.access --help`. They work on the store that AUDIOTUNE_STORE names."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import sys
from pathlib import Path

from audiotune.access import accounts, identities, tokens
from audiotune.access.agreement_commands import load_given_agreement
from audiotune.access.membership import find_membership
from audiotune.access.proposal_commands import add_proposal_commands
from audiotune.access.recording_commands import add_recording_commands
from audiotune.errors import AccessError, AudioTuneError, ForbiddenError, UnreadableAgreementError
from audiotune.governance import publish_agreement, read_current_agreement
from audiotune.governance.agreement_changes import describe_changes
from audiotune.governance.service_client import URL
from audiotune.outside.proxies import configure_proxies
from audiotune.store import open_store
from audiotune.store.atomic_files import replace_atomically
from audiotune.store.port import Store


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 refused with one sentence on stderr."""
    args = _build_parser().parse_args(arguments)
    configure_proxies()
    try:
        if not getattr(args, "reads", False):
            _require_direct_writes()
        args.run(open_store(args.store), args)
    except AudioTuneError as e:
        print(f"access: {e}", file=sys.stderr)
        return 1
    return 0


def _require_direct_writes() -> None:
    """Raises ForbiddenError where the governance service writes: these commands ask nobody for a proof."""
    if os.environ.get(URL):
        cure = "kubectl exec deploy/RELEASE-governance -- python -m audiotune.access ..."
        raise ForbiddenError(f"{URL} is set: here the governance service writes; run this in its pod", cure=cure)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m audiotune.access", description="Members' tokens, accounts and consent.")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    groups = parser.add_subparsers(
        required=True, metavar="token | account | identity | agreement | recording | proposal | first-owner"
    )
    _add_token_commands(groups.add_parser("token", help="how members' programs sign in"))
    _add_account_commands(groups.add_parser("account", help="a member who signs in with a password"))
    _add_identity_commands(groups.add_parser("identity", help="a member who signs in at a provider (OpenID Connect)"))
    _add_agreement_commands(groups.add_parser("agreement", help="the group's agreement"))
    add_recording_commands(groups.add_parser("recording", help="who is heard in a recording, and what they agree to"))
    add_proposal_commands(groups.add_parser("proposal", help="what the group decides together"))
    first = groups.add_parser("first-owner", help="an account and a token for the first owner; does nothing when there is one")
    first.add_argument("member")
    first.add_argument("--to", type=Path, required=True, help="file for the password and the token (mode 0600); - prints them")
    first.set_defaults(run=_create_first_owner)
    return parser


def _add_token_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="issue | list | revoke")
    issue = verbs.add_parser("issue", help="make one; its text is printed once")
    issue.add_argument("member")
    issue.add_argument("--days", type=float, default=90, help="life time (default 90)")
    issue.add_argument("--scope", nargs="+", choices=tokens.SCOPES, default=["generate", "read"], help="default: generate read")
    issue.set_defaults(run=_issue_token)
    verbs.add_parser("list", help="all of them, without their secrets").set_defaults(run=_print_tokens, reads=True)
    revoke = verbs.add_parser("revoke", help="end one, within seconds")
    revoke.add_argument("id")
    revoke.set_defaults(run=lambda store, a: print(f"revoked {tokens.revoke_token(store, a.id).id}"))


def _add_account_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="create | password | remove | list")
    for verb, purpose in (("create", "a new account"), ("password", "a new password for one; ends its sessions and tokens")):
        parser = verbs.add_parser(verb, help=f"{purpose}; the password comes from stdin, or is made and printed once")
        parser.add_argument("member")
        parser.set_defaults(run=_set_password, role=None)
        if verb == "create":
            parser.add_argument("--role", choices=("owner", "member"), default="member")
            parser.add_argument("--no-password", action="store_true", help="for a member who signs in at a provider")
    remove = verbs.add_parser(
        "remove", help="end one, and its sessions within seconds; the member's tokens go on until they are revoked"
    )
    remove.add_argument("member")
    remove.set_defaults(run=_remove_account)
    listing = verbs.add_parser("list", help="members and roles")
    listing.set_defaults(
        run=lambda store, a: print("\n".join(f"{x.member}\t{x.role}" for x in accounts.list_accounts(store))), reads=True
    )


def _add_identity_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="add | remove | list")
    add = verbs.add_parser("add", help="name the member that a person of the provider is")
    add.add_argument("member")
    add.add_argument("identity", help="the person's name at the provider: value of the claim that names members")
    add.set_defaults(run=lambda store, a: print(f"{identities.add_identity(store, a.member, a.identity).identity} is {a.member}"))
    remove = verbs.add_parser("remove", help="forget it; a studio ends the person's session within seconds")
    remove.add_argument("identity")
    remove.set_defaults(run=lambda store, a: identities.remove_identity(store, a.identity))
    listing = verbs.add_parser("list", help="members and their names at the provider")
    listing.set_defaults(
        run=lambda store, a: print("\n".join(f"{x.member}\t{x.identity}" for x in identities.list_identities(store))),
        reads=True,
    )


def _add_agreement_commands(group: argparse.ArgumentParser) -> None:
    verbs = group.add_subparsers(required=True, metavar="publish")
    publish = verbs.add_parser("publish", help="put a version in force")
    publish.add_argument("file", type=Path, help="agreement.toml; - reads it from stdin")
    publish.add_argument(
        "--override",
        default="",
        metavar="WHY",
        help="although the agreement asks for a decision of the group; the ledger says so",
    )
    publish.set_defaults(run=_publish_agreement)


def _publish_agreement(store: Store, args: argparse.Namespace) -> None:
    agreement = load_given_agreement(args.file)
    before = None
    with contextlib.suppress(UnreadableAgreementError):  # a later version takes the place of one that cannot be read
        before = read_current_agreement(store)
    publish_agreement(store, agreement, override=args.override.strip())
    after = read_current_agreement(store)
    assert after is not None
    print("\n".join(describe_changes(before, after)))
    print(f"version {after.version} of the agreement of {after.group} is in force")


def _issue_token(store: Store, args: argparse.Namespace) -> None:
    state = find_membership(store, args.member)
    if state == "left" or (state == "stranger" and "generate" in args.scope):
        what = "has left the group" if state == "left" else "is no member in the agreement"
        raise ForbiddenError(f"{args.member[:64]} {what}", cure="such a token would be refused; change the agreement first")
    print(tokens.issue_token(store, args.member, args.scope, args.days))


def _print_tokens(store: Store, _args: argparse.Namespace) -> None:
    for token in tokens.list_tokens(store):
        state = "revoked" if token.revoked else f"until {token.expires:%Y-%m-%d}" if token.expires else "without end"
        print(f"{token.id}\t{token.member}\t{' '.join(token.scopes)}\t{state}")


def _set_password(store: Store, args: argparse.Namespace) -> None:
    if getattr(args, "no_password", False):
        accounts.create_account(store, args.member, None, args.role)
        print(f"{args.member}: no password")
        return
    given = _read_password()
    password = given or accounts.generate_password()
    if args.role:
        accounts.create_account(store, args.member, password, args.role)
    else:
        accounts.change_password(store, args.member, password)
    print(f"{args.member}: {'the password you gave' if given else password}")


def _remove_account(store: Store, args: argparse.Namespace) -> None:
    accounts.remove_account(store, args.member)
    valid_tokens = [token.id for token in tokens.list_tokens(store) if token.member == args.member and token.is_valid()]
    print(f"{args.member}: removed")
    if valid_tokens:
        print(f"these tokens go on until they are revoked: {' '.join(valid_tokens)}")


def _read_password() -> str:
    """A line from stdin; empty when a password is to be generated."""
    if sys.stdin.isatty():
        return getpass.getpass("password (empty: make one): ")
    return sys.stdin.readline().rstrip("\r\n")


def _create_first_owner(store: Store, args: argparse.Namespace) -> None:
    if any(account.role == "owner" for account in accounts.list_accounts(store)):
        print("there is an owner already; nothing was changed", file=sys.stderr)
        return
    password = accounts.generate_password()
    accounts.create_account(store, args.member, password, "owner")
    token = tokens.issue_token(store, args.member, ["admin"], 365)
    credentials = json.dumps({"member": args.member, "password": password, "token": token}, indent=1) + "\n"
    if str(args.to) == "-":
        print(credentials, end="")
        return
    try:
        with replace_atomically(args.to) as part:
            part.touch(mode=0o600)  # before the secret is in it
            part.write_text(credentials)
    except OSError as e:
        store.delete(accounts.account_key(args.member))  # nobody saw its password, and with an owner there is no second try
        tokens.revoke_token(store, token.split("_")[1])
        raise AccessError(
            f"cannot write the file: {e.strerror}", where=str(args.to), cure="name a folder that can be written"
        ) from e


if __name__ == "__main__":
    sys.exit(main())
