"""In whose name a command may speak: an operator's word is enough only where nobody signs in."""

from __future__ import annotations

from audiotune.access.accounts import list_accounts
from audiotune.errors import ForbiddenError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.suggestions import suggest_member
from audiotune.store.port import Store


def require_speaker(store: Store, member: str) -> str:
    """The member.

    Raises ForbiddenError: members have accounts here, so nobody speaks in their name; or it is the id of a member, written otherwise.
    """
    if list_accounts(store):
        cure = "do it in the studio; `audiotune consent` takes --sign-in MEMBER, too"
        raise ForbiddenError("members sign in here, and speak for themselves", cure=cure)
    agreement = open_ledger(store).read_state().agreement
    meant = suggest_member(agreement, member) if agreement and agreement.find_member(member) is None else ""
    if meant:
        raise ForbiddenError(f"{member[:64]!r} is no member of the agreement", cure=f"did you mean {meant!r}?")
    return member
