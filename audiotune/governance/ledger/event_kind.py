"""A kind of event: the model of its body, and what it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import GovernanceError
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState

SaidBy = Literal["service", "member", "owner"]


@dataclass(frozen=True)
class EventKind:
    """A kind of event.

    Attributes:
        apply: `apply(state, event, body)` raises GovernanceError where a rule forbids it, before it changes anything. All rules stand
            here, also whether `event.by` must be an active member (`require_active_member`).
        said_by: whose act it is. What a member or an owner says comes in by one way, see `audiotune.governance.member_acts`.
        fresh: where members sign in, they did so just now: for what cannot be undone. May depend on the body.
    """

    body: type[FrozenModel]
    apply: Callable[[GovernanceState, LedgerEvent, Any], None]
    said_by: SaidBy = "service"
    fresh: bool | Callable[[Any], bool] = False

    def needs_fresh_sign_in(self, body: FrozenModel) -> bool:
        return self.fresh if isinstance(self.fresh, bool) else self.fresh(body)


def require_active_member(state: GovernanceState, id: str) -> str:
    """The id. Raises GovernanceError: no member of the agreement in force, or one who has left."""
    member = state.agreement.find_member(id) if state.agreement else None
    if member is None:
        raise GovernanceError(f"{id[:64]!r} is no member of the agreement in force", cure="the agreement names its members")
    if member.left:
        raise GovernanceError(f"{id} has left the group", cure="a new version of the agreement takes them in again")
    return member.id


def refuse_late_import(state: GovernanceState, event: LedgerEvent) -> None:
    """Of two programs that open a ledger at once, the slower one must not put earlier records behind later ones."""
    if event.via == "import" and state.in_force:
        raise GovernanceError("earlier records were taken over already")
