"""Whether a release may be used as the ledger says it now, and which version may play: for pages, previews and what moves aliases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from audiotune.domain.release import Lineage, Release
from audiotune.governance.consent import find_consents
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.policy import Gate, decide_policy

_PLAYS: tuple[Gate, ...] = ("champion", "generate")  # what a release must pass to be the champion and be heard


def list_objections(state: GovernanceState, release: Release, *gates: Gate, now: datetime | None = None) -> tuple[str, ...]:
    """Why a release may not pass these gates; nothing where it may. Asks everybody who is heard in its recordings."""
    return list_lineage_objections(state, release.lineage, *gates, now=now)


def list_lineage_objections(
    state: GovernanceState, lineage: Lineage, *gates: Gate, now: datetime | None = None
) -> tuple[str, ...]:
    """As `list_objections`, of a lineage."""
    if state.agreement is None:
        return ("the store holds no agreement that can be read",)
    recordings = lineage.recordings
    consents = find_consents(state, recordings)
    decisions = (decide_policy(gate, state.agreement, consents, recordings, now=now) for gate in gates)
    return tuple(dict.fromkeys(reason for decision in decisions for reason in decision.reasons))


def explain_silence(state: GovernanceState, release: Release, now: datetime | None = None) -> str:
    """Why a release may not be the champion; empty where it may: it passed its evaluation, everybody agrees, and the group decided so."""
    if not release.evaluation.passed:
        return "its evaluation did not pass"
    if reasons := list_objections(state, release, *_PLAYS, now=now):
        return "; ".join(reasons)
    return "" if _is_decided(state, release) else "the group has not decided that it may be the champion"


def choose_champion(state: GovernanceState, releases: Iterable[Release], now: datetime | None = None) -> Release | None:
    """The newest of the versions of a name that may be the champion; None where there is none."""
    newest_first = sorted((one for one in releases if one.version.isdigit()), key=lambda one: -int(one.version))
    return next((one for one in newest_first if not explain_silence(state, one, now)), None)


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
