"""What owners do: make accounts, and say which member a person of the sign-in provider is."""

from __future__ import annotations

from audiotune.access import accounts, identities
from audiotune.errors import AccessError, LedgerError
from audiotune.governance import Agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.port import Store


def is_owner(store: Store, member: str) -> bool:
    """Whether an account has the role, or the group decided so because no owner was left. Who has left the group is none.

    While the ledger cannot be read, nobody knows who has left, and nobody is one.
    """
    account = accounts.read_account(store, member) if member else None
    try:
        state = open_ledger(store).read_state()
    except LedgerError:
        return False
    if account is None or _has_left(state, member):
        return False
    return account.role == "owner" or (member in state.decided_owners and not _has_owner(store, state))


def _has_left(state: GovernanceState, member: str) -> bool:
    found = state.agreement.find_member(member) if state.agreement else None
    return found is not None and found.left


def _has_owner(store: Store, state: GovernanceState) -> bool:
    """Whether somebody who has not left has the role. Then only an owner or operator makes another one: a decision is for an emergency."""
    return any(one.role == "owner" and not _has_left(state, one.member) for one in accounts.list_accounts(store))


def issue_password(store: Store, agreement: Agreement, owner: str, member: str) -> str:
    """Creates an account with a generated password, or gives an account a new one and ends its tokens; returns the password.

    Raises AccessError.
    """
    _require_owner(store, owner, "make accounts")
    _require_in_agreement(agreement, member)
    password = accounts.generate_password()
    if accounts.read_account(store, member) is None:
        accounts.create_account(store, member, password)
    else:
        accounts.change_password(store, member, password)
    return password


def add_member_identity(store: Store, agreement: Agreement, owner: str, member: str, identity: str) -> None:
    """Links an identity at the provider to a member. Raises AccessError as `issue_password` does, and for an invalid identity."""
    _require_owner(store, owner, "say who is who")
    _require_in_agreement(agreement, member)
    identities.add_identity(store, member, identity)


def remove_member_identity(store: Store, owner: str, identity: str) -> None:
    """Removes the link. Raises AccessError: no owner, the owner's only identity, or no such identity."""
    _require_owner(store, owner, "say who is who")
    own = [one.identity for one in identities.list_identities(store) if one.member == owner]
    if own == [identity.strip()]:
        raise AccessError("this is your own only way in", cure="let another owner forget it")
    identities.remove_identity(store, identity)


def _require_owner(store: Store, owner: str, action: str) -> None:
    if not is_owner(store, owner):
        raise AccessError(f"only owners {action}", cure="ask an owner of the group")


def _require_in_agreement(agreement: Agreement, member: str) -> None:
    if agreement.find_member(member) is None:
        raise AccessError("choose a member of the agreement", cure="new members are added to the agreement first")
