"""Everything that follows a withdrawal, done by one call that can be made at any time and again after a crash at any point."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from audiotune.domain.frozen_model import FrozenModel
from audiotune.governance.ledger.erasure_events import ErasureDone
from audiotune.governance.writer import GovernanceWriter
from audiotune.store.port import Store
from audiotune.withdrawal.erasure import ErasableRegistry, erase_withdrawn, list_due_erasures
from audiotune.withdrawal.housekeeping import RegistryChange, ReleaseAliases, follow_consent


class WithdrawalRegistry(ReleaseAliases, ErasableRegistry, Protocol):
    """The registry: `audiotune.registry.releases`."""


class FinishedWork(FrozenModel):
    """What one call did."""

    changes: tuple[RegistryChange, ...] = ()
    erased: tuple[ErasureDone, ...] = ()


def finish_withdrawals(
    store: Store, registry: WithdrawalRegistry, writer: GovernanceWriter, *, now: datetime | None = None
) -> FinishedWork:
    """Moves aliases and marks releases, then erases what is due. Raises StoreError, RegistryError: call it again."""
    changes = follow_consent(store, registry)
    erased = [done for number in list_due_erasures(store, now) if (done := erase_withdrawn(store, registry, writer, number, now))]
    return FinishedWork(changes=tuple(changes), erased=tuple(erased))
