"""Ends the waiting of recordings, and deletes what waited: for the governance service, for the studio where there is none, and by hand.

The ledger decides and goes first: an event ends the waiting, then the bytes are deleted in all versions, then an event says so. What was
cut short in the middle is finished the next time. Two at once do the same work twice, and record it once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from audiotune.domain.frozen_model import TolerantModel
from audiotune.domain.manifest import fetch_manifest, list_manifests
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError, StoreError
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.ledger.waiting_events import WaitingEnded, WaitingErased
from audiotune.governance.waiting import decide_waiting
from audiotune.store.erase import erase_key
from audiotune.store.layout import WAITING
from audiotune.store.port import Store

_FORGOTTEN = timedelta(days=1)  # bytes that no event names: an upload was cut between the bytes and the event
_KEY = WAITING.compile(r"([0-9a-f]{64})/[^/]+/[^/]+")


@dataclass
class UpkeepReport:
    """What was done. `ended`: (recording, outcome, people); `erased`: recording -> versions; `failed`: key -> why."""

    ended: list[tuple[Digest, str, tuple[str, ...]]] = field(default_factory=list)
    erased: dict[Digest, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def end_due_waiting(store: Store, now: datetime | None = None) -> UpkeepReport:
    """Ends what is answered with no, unanswered for too long, or taken in; deletes what does not wait any more.

    Args:
        now: with time zone; None: the present moment. The ledger's own clock has the last word.

    Raises StoreError: the store is away, or does not let this program delete; the ledger says what is left to do.
    """
    report, moment = UpkeepReport(), now or datetime.now(UTC)
    _end_due(store, open_ledger(store).read_state(), moment, report)
    _erase_ended(store, open_ledger(store).read_state(), moment, report)
    if report.failed:
        key, why = next(iter(report.failed.items()))
        raise StoreError(
            f"{len(report.failed)} keys of recordings that wait no more are not deleted: {why}",
            where=key,
            cure="the governance service deletes them; or run `audiotune consent expire` with the keys of the user `erasure`",
        )
    return report


def _end_due(store: Store, state: GovernanceState, now: datetime, report: UpkeepReport) -> None:
    taken_in: set[Digest] | None = None
    for recording, waits in list(state.waiting.items()):
        if waits.outcome:
            continue
        verdict = decide_waiting(state, waits, now)
        if verdict.kind == "agreed" and taken_in is None:
            taken_in = _list_taken_in(store)
        if verdict.kind != "asking":
            _end_one(store, recording, recording in (taken_in or ()), now, report)


def _end_one(store: Store, recording: Digest, is_in: bool, now: datetime, report: UpkeepReport) -> None:
    """Ends one by what the newest state says: somebody may have answered in the meantime."""
    body: WaitingEnded | None = None

    def draft_event(state: GovernanceState) -> EventDraft | None:
        nonlocal body
        waits, body = state.waiting[recording], None
        if waits.outcome:
            return None
        verdict = decide_waiting(state, waits, now)
        if verdict.kind == "asking" or (verdict.kind == "agreed" and not is_in):
            return None
        outcome = "taken_in" if verdict.kind == "agreed" else verdict.kind
        body = WaitingEnded.model_validate({"recording": recording, "outcome": outcome, "people": verdict.people})
        return EventDraft("waiting_ended", body)

    if open_ledger(store).append(draft_event) and body:
        report.ended.append((recording, body.outcome, body.people))


def _list_taken_in(store: Store) -> set[Digest]:
    """Every recording that a manifest names."""
    manifests = (fetch_manifest(store, one.key, "recordings", _RecordingId) for one in list_manifests(store, "recordings"))
    return {row.id for manifest in manifests for row in manifest.rows}


class _RecordingId(TolerantModel):
    """The only field of a recording's row that is needed here."""

    id: Digest


def _erase_ended(store: Store, state: GovernanceState, now: datetime, report: UpkeepReport) -> None:
    """Deletes what no recording that waits names: at once where its waiting has ended, else after a day."""
    counted: dict[Digest, int] = {}
    for entry in list(store.list(WAITING.path)):
        match = _KEY.fullmatch(entry.key)
        waits = state.waiting.get(match[1]) if match else None
        if waits and not waits.outcome and _folder(entry.key) == _folder(waits.sound):
            continue
        if not (waits and waits.outcome and _folder(entry.key) == _folder(waits.sound)) and now - entry.modified < _FORGOTTEN:
            continue
        try:
            versions = erase_key(store, entry.key)
        except StoreError as e:
            report.failed[entry.key] = e.what
            continue
        if match:
            counted[match[1]] = counted.get(match[1], 0) + versions
    for recording, waits in state.waiting.items():
        failed = any(key.startswith(WAITING.folder(recording)) for key in report.failed)
        if waits.outcome and not waits.erased and not failed:
            _note_erasure(store, recording, counted.get(recording, 0), report)


def _note_erasure(store: Store, recording: Digest, versions: int, report: UpkeepReport) -> None:
    body = WaitingErased(recording=recording, versions=versions)
    try:
        open_ledger(store).append(lambda state: EventDraft("waiting_erased", body))
    except ConsentError:
        return  # another program was first, or it waits anew
    report.erased[recording] = versions


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
