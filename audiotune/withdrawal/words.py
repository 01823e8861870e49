"""Previews and withdrawals in the words of a musician: the page and the command line say the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from audiotune.governance.agreement_record import ALL_USES, Use
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.withdrawal.erasure_plan import ErasureCounts
from audiotune.withdrawal.preview import ChampionForecast, RetrainingForecast, WithdrawalPreview

_ERASURE = {
    "recordings": "your recordings",
    "everything_derived": "your recordings and everything that was made of them",
}


def describe_preview(preview: WithdrawalPreview) -> Iterator[str]:
    """What follows, in sentences, the most important first."""
    yield f"{_describe_scope(preview)} What you take back: {describe_uses(preview.uses)}."
    yield f"From {preview.ends:%Y-%m-%d %H:%M} UTC on nobody may use them so."
    if preview.joint:
        others = sorted({who for people in preview.joint.values() for who in people})
        yield f"{_count(len(preview.joint), 'of them is', 'of them are')} played together with {', '.join(others)}: closed for all."
    if preview.follows:
        yield f"{_count(len(preview.follows), 'further recording')} that sound the same may not be used either."
    segments, datasets = _count(len(preview.segments), "segment"), _count(len(preview.datasets), "dataset")
    numbers = ", ".join(str(dataset.number) for dataset in preview.datasets)
    yield f"They are in {segments}, and in {datasets}{f' ({numbers})' if numbers else ''}."
    held = [f"{one.name} {one.version}{' (adapter)' if one.is_adapter else ''}" for one in preview.releases]
    stopped = [f"{one.name} {one.version}" for one in preview.releases if one.stops]
    yield f"Releases that hold them: {', '.join(held) or 'none'}."
    if held:
        yield f"Of these will be stopped: {', '.join(stopped) or 'none that plays now'}."
    yield from map(describe_champion, preview.champions)
    if preview.sounds:
        yield f"{_count(preview.sounds, 'sound')} made with them stay with their records, marked."
    yield from map(_describe_retraining, preview.retrainings)
    for choice, counts in preview.erasures.items():
        yield f"If you let {_ERASURE[choice]} be erased: {describe_counts(counts)}."
    yield from (f"Out of reach: {sentence}" for sentence in preview.unreachable)


def describe_uses(uses: Collection[Use]) -> str:
    """The uses by the names of the commands."""
    return "every use" if set(uses) == set(ALL_USES) else ", ".join(use for use in ALL_USES if use in uses)


def describe_counts(counts: ErasureCounts) -> str:
    parts = list_kinds(counts.objects)
    parts += list_kinds({"releases in the registry": counts.versions}) if counts.versions else []
    kept = []
    if counts.joint:
        kept.append(f"{_count(counts.joint, 'recording')} in which others are heard who have not asked for it")
    if counts.shared:
        kept.append(f"{_count(counts.shared, 'object')} whose bytes something else has, too")
    return f"{', '.join(parts) or 'nothing'} would go{'; kept: ' if kept else ''}{', and '.join(kept)}"


def list_kinds(counts: Mapping[str, int]) -> list[str]:
    """As in "1 list of latents" and "3 segments": a kind is named in the plural."""
    found = []
    for kind, number in sorted(counts.items()):
        noun, _, rest = kind.partition(" ")
        one = noun if noun == "latents" else noun.removesuffix("s")
        found.append(f"{number} {one if number == 1 else noun}{f' {rest}' if rest else ''}")
    return found


def describe_withdrawal(state: GovernanceState, withdrawal: Withdrawal) -> Iterator[str]:
    """One withdrawal and what was done about it."""
    what = "all recordings, also later ones" if withdrawal.is_all else _count(len(withdrawal.recordings), "recording")
    yield f"{withdrawal.number}  {withdrawal.time:%Y-%m-%d %H:%M}  {withdrawal.member}: {describe_uses(withdrawal.uses)} of {what}"
    if withdrawal.ends > withdrawal.time:
        yield f"  ends on {withdrawal.ends:%Y-%m-%d %H:%M} UTC, after the agreement's days of grace"
    if withdrawal.why:
        yield f"  because: {withdrawal.why}"
    if withdrawal.erase != "none":
        rounds = state.erasures.get(withdrawal.number, ())
        yield f"  to be erased: {withdrawal.erase.replace('_', ' ')}; {f'done in event {rounds[0].event}' if rounds else 'not done yet'}"
        for done in rounds:
            yield f"    {', '.join(list_kinds(done.counts)) or 'nothing was left'}"
            yield from (f"    kept: {sentence}" for sentence in done.kept)
            yield from (f"    out of reach: {sentence}" for sentence in done.unreachable)


def _describe_scope(preview: WithdrawalPreview) -> str:
    count = _count(len(preview.recordings), "recording")
    return f"All your recordings, also later ones; now {count}." if preview.is_all else f"{count}."


def describe_champion(forecast: ChampionForecast) -> str:
    """What plays under a name now, and then."""
    if forecast.now == forecast.then:
        return f"{forecast.name}: version {forecast.now} goes on playing." if forecast.now else f"{forecast.name}: nothing plays."
    if forecast.then:
        return f"{forecast.name}: version {forecast.now} plays now; then version {forecast.then} plays."
    return (
        f"{forecast.name}: version {forecast.now} plays now; then nothing plays, because no other version may ({forecast.why})."
    )


def _describe_retraining(forecast: RetrainingForecast) -> str:
    title = f"{forecast.name} {forecast.version}"
    if not forecast.segments:
        return f"{title} cannot be trained again: nothing is left to train on."
    took = f"its training took {_describe_duration(forecast.took_s)}" if forecast.took_s else "nobody wrote down how long it took"
    unknown = f"; {', '.join(forecast.unknown)} will run with the present recipe" if forecast.unknown else ""
    left = f"{_count(forecast.segments, 'segment')} of {_count(forecast.recordings, 'recording')}"
    return f"{title} can be trained again with {left}: {took}{unknown}."


def _describe_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"
