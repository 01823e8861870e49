"""Erases what a withdrawal asked for: in the store in all versions, in its cache on this machine, and in the registry; the ledger says so.

The list of what goes is written first, under `erasures/`, and the event last. Whatever happens between, the next call goes on from the
list. A call after the event looks whether a program has written something since, and erases that in another round.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from audiotune.domain.recording import Digest
from audiotune.errors import AlreadyInStoreError
from audiotune.governance.ledger.erasure_events import MOST_HASHES, ErasureDone
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.governance.writer import GovernanceWriter
from audiotune.store.erase import count_versions, erase_key
from audiotune.store.layout import ERASURES, MLFLOW
from audiotune.store.port import Store, compute_digest, digest_from_key
from audiotune.withdrawal.erasure_plan import ErasedObject, ErasurePlan, count_plan, plan_erasure
from audiotune.withdrawal.retraining import require_withdrawal
from audiotune.withdrawal.store_traces import StoreTraces
from audiotune.withdrawal.unreachable import describe_unreachable


class ErasableRegistry(Protocol):
    """As far as this needs a registry: `audiotune.registry.releases`."""

    def delete_release(self, name: str, version: str, run_id: str, digest: str, adapter: str) -> bool: ...

    def delete_run_files(self, run_id: str) -> bool: ...


def erase_withdrawn(
    store: Store, registry: ErasableRegistry, writer: GovernanceWriter, number: int, now: datetime | None = None
) -> ErasureDone | None:
    """Erases what withdrawal `number` asked for. None where it asked for nothing, its days of grace last, or everything is erased.

    Raises GovernanceError: no such withdrawal. Raises StoreError, RegistryError: call it again, and it goes on.
    """
    state = open_ledger(store).read_state()
    withdrawal = require_withdrawal(state, number)
    if withdrawal.erase == "none" or (now or datetime.now(UTC)) < withdrawal.ends:
        return None
    done = len(state.erasures.get(number, ()))
    key = ERASURES.key(f"{number:010d}", f"{done + 1:04d}.json")
    plan = plan_erasure(StoreTraces(store), state, withdrawal)
    if done and not store.exists(key):  # no later round was begun
        plan = plan.model_copy(update={"objects": tuple(_find_written_since(store, plan)), "versions": (), "runs": ()})
        if not plan.objects:
            return None
    listed = _keep_list(store, key, plan)
    stays = set(plan.shared)
    for one in listed.objects:
        if one.key not in stays:  # something that stays may have come to need it since the list was written
            erase_key(store, one.key)
    for version in listed.versions:
        registry.delete_release(version.name, version.version, version.run, version.digest, version.adapter)
        _erase_artifacts(store, version.run)
    for run in listed.runs:
        registry.delete_run_files(run)
        _erase_artifacts(store, run)
    body = _describe_erasure(store, withdrawal, listed, done + 1, compute_digest(store.get(key)))
    writer.record_erasure(body)
    return body


def list_due_erasures(store: Store, now: datetime | None = None) -> list[int]:
    """The withdrawals whose erasure may be done by now, also those that were done: something may have been written since."""
    moment = now or datetime.now(UTC)
    due = (one for one in open_ledger(store).read_state().withdrawals.values() if one.erase != "none" and one.ends <= moment)
    return [one.number for one in due]


def list_erased_keys(store: Store) -> Iterator[str]:
    """Every key that was erased: a program drops them from its own caches."""
    for entry in store.list(ERASURES.path):
        yield from (one.key for one in ErasurePlan.model_validate_json(store.get(entry.key)).objects)


def _keep_list(store: Store, key: str, plan: ErasurePlan) -> ErasurePlan:
    """The list that was written first, by this call or an earlier one."""
    with contextlib.suppress(AlreadyInStoreError):
        store.put(key, plan.model_dump_json().encode(), only_new=True)
    return ErasurePlan.model_validate_json(store.get(key))


def _find_written_since(store: Store, plan: ErasurePlan) -> Iterator[ErasedObject]:
    """What is there again, or came later: a training that was about to end, an upload of the same bytes."""
    for one in plan.objects:
        if count_versions(store, one.key):
            yield one


def _erase_artifacts(store: Store, run: str) -> None:
    """What MLflow deleted of a run stays as old versions where its artifacts lie in this store."""
    if run:
        for key in {key for key in list_version_keys(store, MLFLOW.path) if f"/{run}/" in key}:
            erase_key(store, key)


def list_version_keys(store: Store, prefix: str) -> Iterator[str]:
    """Keys below a prefix, also those of which only old versions are left."""
    from audiotune.store.s3 import S3Store

    if isinstance(store, S3Store):
        yield from (version.key for version in store.list_versions(prefix))
    else:
        yield from (entry.key for entry in store.list(prefix))


def _describe_erasure(store: Store, withdrawal: Withdrawal, plan: ErasurePlan, round: int, digest: Digest) -> ErasureDone:
    counts = count_plan(plan)
    kept = [f"recording {id[:12]}: others are heard in it who have not asked for its erasure" for id in plan.joint]
    if counts.shared:
        kept.append(f"{counts.shared} objects: recordings, segments or releases that stay have the same bytes")
    hashes = [digest_from_key(one.key) or hashlib.sha256(one.key.encode()).hexdigest() for one in plan.objects]
    return ErasureDone(
        withdrawal=withdrawal.number,
        round=round,
        counts={**counts.objects, **({"releases in the registry": counts.versions} if counts.versions else {})},
        hashes=tuple(dict.fromkeys(hashes))[:MOST_HASHES],
        list=digest,
        kept=tuple(kept[:1000]),
        unreachable=describe_unreachable(store),
    )
