"""What follows from a withdrawal, before it is made. The figures come of the same fold, policy and plans that the act then follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, get_args

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.governance.agreement_record import ALL_USES, Use
from audiotune.governance.consent import find_consents, list_heard
from audiotune.governance.dependents import NumberedDataset, list_dependents
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.events import EventSignature, EventSignatures, LedgerEvent
from audiotune.governance.ledger.fold import change_state
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.ledger.withdrawal_events import WithdrawalRecorded
from audiotune.governance.policy import REQUIRED_USES, Gate, decide_policy
from audiotune.governance.release_standing import choose_champion, list_objections
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.store.port import Store
from audiotune.withdrawal.erasure_plan import ErasureCounts, count_plan, plan_erasure
from audiotune.withdrawal.retraining import list_left, list_unknown_steps
from audiotune.withdrawal.store_traces import StoreTraces
from audiotune.withdrawal.unreachable import describe_unreachable

_NO_SIGNATURE = EventSignatures(service=EventSignature(key="0" * 16, value=""))


class AliasSource(Protocol):
    """As far as a preview needs a registry."""

    def list_aliases(self, name: str) -> Mapping[str, str]:
        """Alias -> version."""
        ...


class ReleaseForecast(FrozenModel):
    """A release or adapter that holds what would be taken back or left out. `stops`: it may play now, and not then; `why`: then."""

    name: str
    version: str
    digest: Digest
    is_adapter: bool
    stops: bool
    why: tuple[str, ...]


class ChampionForecast(FrozenModel):
    """What plays under a name: versions, empty for none. `why`: of a version that may not play then, or of none."""

    name: str
    now: str
    then: str
    why: str


class RetrainingForecast(FrozenModel):
    """A training of a release that would be stopped, without what was taken back.

    Attributes:
        took_s: how long its own training took; None where nobody wrote it down.
        unknown: steps whose settings were not written down: they run with those of the present recipe.
    """

    name: str
    version: str
    recordings: int
    segments: int
    took_s: float | None
    unknown: tuple[str, ...]


class WithdrawalPreview(FrozenModel):
    """What follows.

    Attributes:
        member: who takes back.
        recordings: of this member, that it is about.
        follows: further recordings that may not be used then, because they sound the same.
        joint: of these, recording -> who else is heard in it.
        is_all: later recordings are meant as well.
        uses: what is taken back.
        ends: when the uses end.
        sounds: made with these releases and adapters; they stay, with a mark.
        erasures: what a choice of erasure would delete, and keep.
        unreachable: what no program here can delete or stop, in sentences.
    """

    member: str
    recordings: tuple[Digest, ...]
    follows: tuple[Digest, ...]
    joint: dict[Digest, tuple[str, ...]]
    is_all: bool
    uses: tuple[Use, ...]
    ends: datetime
    segments: tuple[Digest, ...]
    datasets: tuple[NumberedDataset, ...]
    releases: tuple[ReleaseForecast, ...]
    champions: tuple[ChampionForecast, ...]
    sounds: int
    retrainings: tuple[RetrainingForecast, ...]
    erasures: dict[str, ErasureCounts]
    unreachable: tuple[str, ...]


def preview_withdrawal(
    store: Store, registry: AliasSource, member: str, recordings: Collection[Digest] = (), uses: Collection[Use] = ()
) -> WithdrawalPreview:
    """What follows if `member` takes back `uses` (empty: all) of `recordings` (empty: all of theirs, also later ones).

    Raises GovernanceError: they may not, in the words of the refused act. Raises StoreError, ManifestError, RegistryError.
    """
    before = open_ledger(store).read_state()
    after, withdrawal = simulate_withdrawal(before, member, recordings, uses)
    follows = _list_closed(before, after, withdrawal)
    touched = (*withdrawal.recordings, *follows)
    hung = list_dependents(store, touched)
    traces = StoreTraces(store)
    held = (*hung.releases, *hung.adapters)
    forecast = StandingForecast(traces, before, after, withdrawal.time, withdrawal.ends)
    forecasts = tuple(map(forecast.forecast_release, held))
    return WithdrawalPreview(
        member=member,
        recordings=withdrawal.recordings,
        follows=follows,
        joint=_list_joint(before, withdrawal),
        is_all=withdrawal.is_all,
        uses=withdrawal.uses,
        ends=withdrawal.ends,
        segments=hung.segments,
        datasets=hung.datasets,
        releases=forecasts,
        champions=tuple(forecast.list_champions(registry, held)),
        sounds=len(hung.sounds),
        retrainings=tuple(_forecast_retrainings(traces, after, withdrawal, forecasts)),
        erasures={
            choice: count_plan(plan_erasure(traces, after, withdrawal.model_copy(update={"erase": choice})))
            for choice in (("recordings", "everything_derived") if set(withdrawal.uses) == set(ALL_USES) else ())
        },
        unreachable=describe_unreachable(store),
    )


def simulate_withdrawal(
    before: GovernanceState, member: str, recordings: Collection[Digest], uses: Collection[Use]
) -> tuple[GovernanceState, Withdrawal]:
    """The state as if the event were there already. Raises GovernanceError as the act does."""
    body = WithdrawalRecorded(recordings=tuple(recordings), uses=tuple(uses))
    after = simulate_event(before, "withdrawal_recorded", member, body)
    return after, after.withdrawals[before.number + 1]


def simulate_event(before: GovernanceState, kind: str, member: str, body: FrozenModel) -> GovernanceState:
    """The state as if a member had said this. Raises GovernanceError as the act does."""
    event = LedgerEvent(
        number=before.number + 1,
        previous=before.head,
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        kind=kind,
        by=member,
        via="sign_in",
        body=dump_body(body),
        signatures=_NO_SIGNATURE,
    )
    after = before.copy()
    change_state(after, event, "a preview")
    return after


def _list_closed(before: GovernanceState, after: GovernanceState, withdrawal: Withdrawal) -> tuple[Digest, ...]:
    """Further recordings that pass a gate of these uses now, and do not when they end."""
    others = {recording: () for recording in before.consents if recording not in withdrawal.recordings}
    closed = set[Digest]()
    for gate in (gate for gate in get_args(Gate) if gate != "ingest" and REQUIRED_USES[gate] in withdrawal.uses):
        closed |= _list_refused(after, gate, others, withdrawal.ends) - _list_refused(before, gate, others, withdrawal.time)
    return tuple(sorted(closed))


def _list_refused(state: GovernanceState, gate: Gate, asked: Mapping[Digest, tuple[str, ...]], now: datetime) -> set[Digest]:
    if state.agreement is None:
        return set(asked)
    return set(decide_policy(gate, state.agreement, find_consents(state, asked), asked, now=now).refused)


def _list_joint(state: GovernanceState, withdrawal: Withdrawal) -> dict[Digest, tuple[str, ...]]:
    own: dict[Digest, tuple[str, ...]] = dict.fromkeys(withdrawal.recordings, ())
    heard = list_heard(find_consents(state, own), own)
    others = {recording: tuple(who for who in people if who != withdrawal.member) for recording, people in heard.items()}
    return {recording: people for recording, people in others.items() if people}


@dataclass(frozen=True)
class StandingForecast:
    """What may play after an act. `now`: when it is said; `ends`: from when on it counts for what was made before."""

    traces: StoreTraces
    before: GovernanceState
    after: GovernanceState
    now: datetime
    ends: datetime

    def forecast_release(self, release: Release) -> ReleaseForecast:
        now = self._list_objections(self.before, release, self.now)
        then = self._list_objections(self.after, release, self.ends)
        return ReleaseForecast(
            name=release.name,
            version=release.version,
            digest=release.digest,
            is_adapter=bool(release.weights.adapter),
            stops=bool(then) and not now,
            why=then,
        )

    def list_champions(self, registry: AliasSource, held: Iterable[Release]) -> Iterator[ChampionForecast]:
        """`held`: the releases that hold what it is about."""
        store = self.traces.store
        for name in sorted({release.name for release in held}):
            now = registry.list_aliases(name).get("champion", "")
            cards = [card for card in self.traces.cards if card.name == name and store.exists(card.weights.weights)]
            playing = next((card for card in cards if card.version == now), None)
            why = self._list_objections(self.after, playing, self.ends) if playing else ()
            then = choose_champion(store, self.after, cards, self.ends) if why else playing
            yield ChampionForecast(name=name, now=now, then=then.version if then else "", why="; ".join(why))

    def _list_objections(self, state: GovernanceState, release: Release, at: datetime) -> tuple[str, ...]:
        return list_objections(self.traces.store, state, release, "champion", "generate", now=at)


def _forecast_retrainings(
    traces: StoreTraces, after: GovernanceState, withdrawal: Withdrawal, forecasts: tuple[ReleaseForecast, ...]
) -> Iterator[RetrainingForecast]:
    for forecast in (one for one in forecasts if one.stops):
        card = next(card for card in traces.cards if (card.name, card.version) == (forecast.name, forecast.version))
        left = list_left(traces, after, card, withdrawal.ends)
        yield RetrainingForecast(
            name=card.name,
            version=card.version,
            recordings=len({row.segment.recording for row in left}),
            segments=len({row.segment.id for row in left}),
            took_s=card.training.took_s if card.training else None,
            unknown=list_unknown_steps(card),
        )
