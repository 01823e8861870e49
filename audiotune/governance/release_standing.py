"""Whether a release may be used as the ledger says it now, and which version may play: for pages, previews and what moves aliases."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from datetime import datetime

from audiotune.domain.dataset import UsedRecording, contributors_by_recording
from audiotune.domain.lineage import read_dataset
from audiotune.domain.recording import Digest
from audiotune.domain.release import Lineage, Release
from audiotune.errors import LineageError
from audiotune.governance.agreement import Agreement
from audiotune.governance.consent import find_consents
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.policy import Gate, decide_policy, require_permission
from audiotune.store.port import Store

Parts = tuple[tuple[float, float], ...]  # (start, end) in seconds
_WHOLE: Parts = ((0.0, math.inf),)
_PLAYS: tuple[Gate, ...] = ("champion", "generate")  # what a release must pass to be the champion and be heard


class ReleasedRecording(UsedRecording):
    """The contributors of a recording of a release. Its dataset is read only where somebody asks for the parts."""

    _find_parts: Callable[[], Parts]

    @property
    def parts(self) -> Parts:  # type: ignore[override]
        return self._find_parts()


def list_used_recordings(store: Store, lineage: Lineage) -> dict[Digest, tuple[str, ...]]:
    """Recording -> its contributors, of a release; with the parts that its dataset uses. Where its dataset is gone: the whole recording."""
    found: dict[Digest, tuple[str, ...]] = {}
    for recording, people in lineage.recordings.items():
        used = ReleasedRecording(people)
        used._find_parts = functools.partial(_find_parts, store, lineage.dataset, recording)
        found[recording] = used
    return found


def require_release_permission(store: Store, gate: Gate, release: Release) -> Agreement:
    """As `policy.require_permission`, for a release: also of parts that somebody left out since. Raises as it does."""
    return require_permission(store, gate, list_used_recordings(store, release.lineage))


def list_objections(
    store: Store, state: GovernanceState, release: Release, *gates: Gate, now: datetime | None = None
) -> tuple[str, ...]:
    """Why a release may not pass these gates; nothing where it may. Asks everybody who is heard in its recordings."""
    if state.agreement is None:
        return ("the store holds no agreement that can be read",)
    recordings = list_used_recordings(store, release.lineage)
    consents = find_consents(state, recordings)
    decisions = (decide_policy(gate, state.agreement, consents, recordings, now=now) for gate in gates)
    return tuple(dict.fromkeys(reason for decision in decisions for reason in decision.reasons))


def explain_silence(store: Store, state: GovernanceState, release: Release, now: datetime | None = None) -> str:
    """Why a release may not be the champion; empty where it may: it passed its evaluation, everybody agrees, and the group decided so."""
    if not release.evaluation.passed:
        return "its evaluation did not pass"
    if reasons := list_objections(store, state, release, *_PLAYS, now=now):
        return "; ".join(reasons)
    return "" if _is_decided(state, release) else "the group has not decided that it may be the champion"


def choose_champion(
    store: Store, state: GovernanceState, releases: Iterable[Release], now: datetime | None = None
) -> Release | None:
    """The newest of the versions of a name that may be the champion; None where there is none."""
    newest_first = sorted((one for one in releases if one.version.isdigit()), key=lambda one: -int(one.version))
    return next((one for one in newest_first if not explain_silence(store, state, one, now)), None)


def find_decided_champion(state: GovernanceState, name: str) -> str | None:
    """The version that the group decided to let play last; None where the agreement asks for no decision, or there is none yet."""
    is_ruled = state.agreement is not None and "champion" in state.agreement.decisions
    return state.champions.get(name) if is_ruled else None


def _is_decided(state: GovernanceState, release: Release) -> bool:
    """Where the agreement puts the champion under a decision: whether the group has accepted this version."""
    if state.agreement is None or "champion" not in state.agreement.decisions:
        return True
    change = {"release": release.name, "version": release.version}
    return any((one.kind, one.outcome, one.change) == ("champion", "accepted", change) for one in state.proposals.values())


@functools.lru_cache(maxsize=32)
def _read_parts(store: Store, dataset: Digest) -> dict[Digest, Parts]:
    """Of a dataset, which never changes. Raises LineageError."""
    used = contributors_by_recording(read_dataset(store, dataset))
    return {recording: one.parts for recording, one in used.items() if isinstance(one, UsedRecording)}


def _find_parts(store: Store, dataset: Digest, recording: Digest) -> Parts:
    try:
        return _read_parts(store, dataset).get(recording, ())  # type: ignore[arg-type]  # a store is hashed by its identity
    except LineageError:
        return _WHOLE
