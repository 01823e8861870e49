"""What follows if a player leaves a part of a take out, before they say so: by the rules that the act then follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.consent import find_consents
from audiotune.governance.consent_record import RecordingPart
from audiotune.governance.excepted import split_excepted
from audiotune.governance.ledger.excepted_events import PartsExcepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store.port import Store
from audiotune.withdrawal.preview import AliasSource, ChampionForecast, ReleaseForecast, StandingForecast, simulate_event
from audiotune.withdrawal.store_traces import StoreTraces
from audiotune.withdrawal.words import describe_champion


class ExceptedPreview(FrozenModel):
    """What follows.

    Attributes:
        ends: when releases that hold it stop.
        segments: ids of those that touch a part that is left out then.
        datasets: that have one of them: no step takes these any more.
        releases: made of such a dataset.
    """

    ends: datetime
    segments: tuple[Digest, ...]
    datasets: tuple[Digest, ...]
    releases: tuple[ReleaseForecast, ...]
    champions: tuple[ChampionForecast, ...]


def preview_excepted(
    store: Store, registry: AliasSource, member: str, recording: Digest, parts: Sequence[RecordingPart]
) -> ExceptedPreview:
    """Raises GovernanceError: they may not, in the words of the refused act. Raises StoreError, RegistryError."""
    before, traces, now = open_ledger(store).read_state(), StoreTraces(store), datetime.now(UTC)
    after = simulate_event(before, "parts_excepted", member, PartsExcepted(recording=recording, parts=tuple(parts)))
    of_it = {segment.id: segment for segment in traces.segments if segment.recording == recording}
    _, touched = split_excepted(find_consents(after, [recording]), of_it.values())
    gone = {segment.id for segment, _ in touched}
    datasets = {digest for digest, one in traces.datasets.items() if any(row.segment.id in gone for row in one.rows)}
    held = [card for card in traces.cards if card.lineage.dataset in datasets]
    ends = now + timedelta(days=after.agreement.withdrawal_grace_days if after.agreement else 0, seconds=1)
    forecast = StandingForecast(traces, before, after, now, ends)
    return ExceptedPreview(
        ends=ends,
        segments=tuple(sorted(gone)),
        datasets=tuple(sorted(datasets)),
        releases=tuple(map(forecast.forecast_release, held)),
        champions=tuple(forecast.list_champions(registry, held)),
    )


def describe_excepted_preview(preview: ExceptedPreview) -> Iterator[str]:
    """In sentences, for the page and the command."""
    segments = "1 segment touches it" if len(preview.segments) == 1 else f"{len(preview.segments)} segments touch it"
    datasets = "1 dataset" if len(preview.datasets) == 1 else f"{len(preview.datasets)} datasets"
    yield f"{segments}, in {datasets}: these come into no dataset any more, and no training takes those datasets."
    stopped = [f"{one.name} {one.version}" for one in preview.releases if one.stops]
    if stopped:
        yield f"From {preview.ends:%Y-%m-%d %H:%M} UTC on these may not play any more: {', '.join(stopped)}."
    yield from map(describe_champion, preview.champions)
