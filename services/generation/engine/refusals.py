"""What may not be made any more, though it was asked for when it still might: by a release, an adapter or a member."""

from __future__ import annotations

from services.generation.engine.work import EngineWork
from services.generation.errors import AdapterConsentError, MemberLeftError, WithdrawnError


class Refusals:
    """What the ledger's news forbid. Read by the engine before each batch, written by who watches consent.

    Attributes:
        adapters: digest of an adapter -> why it may not be used.
        members: who has left, as far as they had work here.
    """

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.members: frozenset[str] = frozenset()

    def find_refusal(self, work: EngineWork) -> Exception | None:
        """The error that the work ends with; None where it may be made."""
        if work.loaded.withdrawn:
            return WithdrawnError(work.loaded.withdrawn, cure="ask again: another release may play by now")
        used = (adapter.digest for request in work.requests for adapter, _ in getattr(request, "adapters", ()))
        if why := next((self.adapters[digest] for digest in used if digest in self.adapters), ""):
            return AdapterConsentError(why, where="adapters", cure="leave it out")
        return build_left_error(work.member) if work.member in self.members else None


def build_left_error(member: str) -> MemberLeftError:
    return MemberLeftError(f"{member} has left the group, so this is not made", cure="an owner takes them in again")
