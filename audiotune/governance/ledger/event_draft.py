"""An event before it has a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audiotune.domain.frozen_model import FrozenModel
from audiotune.governance.ledger.events import MemberSignature, Via


@dataclass(frozen=True)
class EventDraft:
    """An event that is to be appended.

    Attributes:
        by: the member who says it; empty for the service itself.
        signature: of the member's own key, over `build_statement`.
    """

    kind: str
    body: FrozenModel
    by: str = ""
    via: Via = "service"
    signature: MemberSignature | None = None


def dump_body(body: FrozenModel) -> dict[str, Any]:
    """A body as it is stored, and signed by a member."""
    return body.model_dump(mode="json", exclude_defaults=True)
