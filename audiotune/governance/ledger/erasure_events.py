"""Events about erasures: what was deleted for good after a withdrawal, and what could not be reached."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import GovernanceError
from audiotune.governance.ledger.event_kind import EventKind
from audiotune.governance.ledger.events import LedgerEvent
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.withdrawal_record import Erasure, ErasureRound

MOST_HASHES = 2000  # in one event; the list in the store has all of them


class ErasureDone(FrozenModel):
    """What a withdrawal asked for was erased. A later round follows where a program wrote something after it.

    Attributes:
        counts: kind -> how many objects, as in {"segments": 12}.
        hashes: SHA-256 of what was erased, the first ones: of a blob its own, of another key that of the key.
        list: SHA-256 of the whole list, which lies in the store under `erasures/`.
        kept: what stays, with the reason, in sentences.
        unreachable: what nobody could delete, by name, in sentences.
    """

    withdrawal: int = Field(ge=1)
    round: int = Field(ge=1)
    counts: dict[str, int] = Field(default={}, max_length=50)
    hashes: tuple[Digest, ...] = Field(default=(), max_length=MOST_HASHES)
    list: Digest
    kept: tuple[str, ...] = Field(default=(), max_length=1000)
    unreachable: tuple[str, ...] = Field(default=(), max_length=100)


def _record_erasure(state: GovernanceState, event: LedgerEvent, body: ErasureDone) -> None:
    withdrawal, earlier = state.withdrawals.get(body.withdrawal), state.erasures.get(body.withdrawal, ())
    asked: Erasure = withdrawal.erase if withdrawal else "none"
    if asked == "none":
        raise GovernanceError(
            f"nobody asked for an erasure with event {body.withdrawal}", cure="name a withdrawal that asks for one"
        )
    if body.round != len(earlier) + 1:
        raise GovernanceError(
            f"round {body.round} of this erasure is recorded already, or too early", cure="read the ledger again"
        )
    done = ErasureRound(event=event.number, **body.model_dump(exclude={"withdrawal", "round", "hashes"}))
    state.erasures[body.withdrawal] = (*earlier, done)


KINDS = {"erasure_done": EventKind(ErasureDone, _record_erasure)}
