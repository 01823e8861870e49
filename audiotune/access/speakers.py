"""In whose name a command may speak: an operator's word is enough only where nobody signs in."""

from __future__ import annotations

from audiotune.access.accounts import list_accounts
from audiotune.errors import ForbiddenError
from audiotune.store.port import Store


def require_speaker(store: Store, member: str) -> str:
    """The member. Raises ForbiddenError: members have accounts here, so nobody speaks in their name."""
    if list_accounts(store):
        raise ForbiddenError("members sign in here, and speak for themselves", cure="do it in the studio")
    return member
