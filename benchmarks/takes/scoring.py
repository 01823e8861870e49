"""Compares found segments with the truth about a simulated take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.takes.simulated_take import HOP_S, SimulatedTake, SourceEnergy, TrueSound

TOLERANCE_S = 0.5
EARLY_S = 0.02
Span = tuple[float, float]  # a found segment in seconds, half-open


@dataclass
class OnsetScore:
    """Counts over one or more takes.

    Attributes:
        demanded, hit: onsets by kind; those under another sound are counted again under OVERLAPPED.
        starts: found segments, without those that begin at an onset which may be found or not. false: those at no onset; by the kind
            of the sound in which they begin ("silence": in none).
        early: segments that begin more than EARLY_S before the first energy of their sound, or in silence, and not with a note of
            another one.
        inside: found segments that begin after a short pause inside a recorded sound or talk.
        energy, lost: of the sources, by kind; lost is what no segment holds.
    """

    demanded: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    false: Counter[str] = field(default_factory=Counter)
    early: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    segments: int = 0
    energy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lost: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def hits(self) -> int:
        return sum(count for kind, count in self.hit.items() if kind != OVERLAPPED)

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.starts)

    @property
    def recall(self) -> float:
        return self.hits / max(1, sum(count for kind, count in self.demanded.items() if kind != OVERLAPPED))

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / max(1e-9, self.precision + self.recall)

    @property
    def strict_f1(self) -> float:
        """As if each segment that begins after a short pause inside a sound were wrong."""
        demanded = sum(count for kind, count in self.demanded.items() if kind != OVERLAPPED)
        return 2 * self.hits / max(1, self.starts + self.inside + demanded)

    @property
    def early_share(self) -> float:
        return sum(self.early.values()) / max(1, self.segments)

    def add(self, other: OnsetScore) -> None:
        for name in ("demanded", "hit", "false", "early"):
            getattr(self, name).update(getattr(other, name))
        for kind in other.energy:
            self.energy[kind] += other.energy[kind]
            self.lost[kind] += other.lost[kind]
        self.starts, self.segments = self.starts + other.starts, self.segments + other.segments
        self.inside += other.inside


OVERLAPPED = "(under another)"


def score_segments(take: SimulatedTake, found: Sequence[Span]) -> OnsetScore:
    """`found`: segments in order; those that only continue the one before (a long sound cut) are joined to it."""
    demanded = [sound for sound in take.sounds if sound.demanded]
    allowed = [sound for sound in take.sounds if not sound.demanded]
    pairs = match_onsets([start for start, _ in found], demanded)
    matched: dict[int, TrueSound] = {i: demanded[j] for i, j in pairs}
    free = [i for i in range(len(found)) if i not in matched]
    accepted = {free[i]: allowed[j] for i, j in match_onsets([found[i][0] for i in free], allowed)}
    inside = sum(sound.continues for sound in accepted.values())
    score = OnsetScore(starts=len(found) - len(accepted), inside=inside, segments=len(found))
    score.demanded.update(kind for sound in demanded for kind in _list_kinds(sound))
    score.hit.update(kind for sound in matched.values() for kind in _list_kinds(sound))
    for i, (start, _) in enumerate(found):
        sound = matched.get(i) or accepted.get(i)
        playing = _find_playing(take, start)
        if sound is None:
            score.false[playing or "silence"] += 1
        is_before = start < sound.first_energy_s - EARLY_S if sound else playing is None
        if is_before and not _is_note_beginning(take, start):
            score.early[sound.kind if sound else "silence"] += 1
    _add_energy(score, take.sources, found)
    return score


def match_onsets(found: Sequence[float], true: Sequence[TrueSound]) -> list[tuple[int, int]]:
    """Pairs of places in two lists in order of time, each met once: greedy in time, which is best for equal tolerances.

    A slow beginning is no moment: a start is right from TOLERANCE_S before the first energy to TOLERANCE_S behind the onset.
    """
    pairs, i, j = [], 0, 0
    while i < len(found) and j < len(true):
        if true[j].first_energy_s - TOLERANCE_S <= found[i] <= true[j].onset_s + TOLERANCE_S:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif found[i] < true[j].first_energy_s:
            i += 1
        else:
            j += 1
    return pairs


def _list_kinds(sound: TrueSound) -> tuple[str, ...]:
    return (sound.kind, OVERLAPPED) if sound.overlapped else (sound.kind,)


def _find_playing(take: SimulatedTake, at_s: float) -> str | None:
    """The kind of the latest source that has energy at this time, give and take EARLY_S."""
    playing = None
    for source in take.sources:
        low, high = (round((at_s + shift) / HOP_S) - source.first for shift in (0, EARLY_S))
        part = source.energy[max(0, low) : max(0, high)]
        if len(part) and part.max() > source.energy.max() * 1e-8:
            playing = source.kind
    return playing


def _is_note_beginning(take: SimulatedTake, at_s: float) -> bool:
    """Whether a source becomes at least 6 dB louder here, as where the next note of a phrase begins."""
    for source in take.sources:
        at = round((at_s + EARLY_S) / HOP_S) - source.first  # the energy until EARLY_S later belongs to the beginning
        before, behind = source.energy[max(0, at - 70) : max(0, at - 20)], source.energy[max(0, at - 20) : max(0, at)]
        if len(behind) and behind.mean() > max(1e-6 * source.energy.max(), 4 * (before.mean() if len(before) else 0.0)):
            return True
    return False


def _add_energy(score: OnsetScore, sources: Sequence[SourceEnergy], found: Sequence[Span]) -> None:
    length = max((source.first + len(source.energy) for source in sources), default=0)
    covered = np.zeros(length, np.bool_)
    for start, end in found:
        covered[round(start / HOP_S) : round(end / HOP_S)] = True
    for source in sources:
        inside = covered[source.first : source.first + len(source.energy)]
        score.energy[source.kind] += float(source.energy.sum())
        score.lost[source.kind] += float(source.energy[~inside].sum())
