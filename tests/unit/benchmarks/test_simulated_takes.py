"""The truth about simulated takes, the score, and what segment must reach on a small fixed set of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.takes.listening import find_spans, hear_take
from benchmarks.takes.rooms import ROOMS
from benchmarks.takes.scoring import OnsetScore, score_segments
from benchmarks.takes.simulated_take import HOP_S, SimulatedTake, SourceEnergy, TrueSound, describe_sounds, simulate_take
from benchmarks.takes.sources import RATE_HZ, Source, find_recorded_sounds

ROOM = ROOMS["line"]
SILENCE_S = 10.0


def _energy(*parts: tuple[float, float]) -> SourceEnergy:
    """A source that begins at 2 s: parts of seconds and amplitude."""
    line = np.concatenate([np.full(round(seconds / HOP_S), amplitude**2) for seconds, amplitude in parts])
    return SourceEnergy("note", round(2 / HOP_S), line)


def _sounds(*parts: tuple[float, float], one_phrase: bool = True) -> tuple[TrueSound, ...]:
    source = Source(np.zeros(0, np.float32), "note", one_phrase)
    return describe_sounds([(source, _energy(*parts))], round(20 / HOP_S), ROOM)


def test_a_sound_begins_where_its_energy_reaches_that_of_the_hiss() -> None:
    hiss = 2**0.5 * 10 ** (ROOM.hiss_dbfs / 20)
    faint, heard = hiss * 10 ** (-20 / 20), hiss * 10 ** (1 / 20)
    (sound,) = _sounds((0.4, faint / 100), (0.3, faint), (0.2, heard), (1.0, 0.05), (0.5, faint))
    assert (sound.first_energy_s, sound.onset_s, sound.end_s) == pytest.approx((2.4, 2.7, 3.9))
    assert sound.demanded


def test_a_long_pause_ends_a_sound_and_a_short_one_does_not() -> None:
    twice = [(1.0, 0.3), (1.6, 0.0), (1.0, 0.3)]
    assert [sound.onset_s for sound in _sounds(*twice)] == pytest.approx([2.0, 4.6])
    assert all(sound.demanded for sound in _sounds(*twice))
    phrase = [(1.0, 0.3), (0.5, 0.0), (1.0, 0.3)]
    assert [sound.onset_s for sound in _sounds(*phrase)] == pytest.approx([2.0])
    assert [(s.demanded, s.continues) for s in _sounds(*phrase, one_phrase=False)] == [(True, False), (False, True)]


def test_what_nobody_can_hear_is_not_demanded() -> None:
    hiss = 2**0.5 * 10 ** (ROOM.hiss_dbfs / 20)
    assert not _sounds((1.0, 3 * hiss))[0].demanded  # 9.5 dB over the hiss
    assert _sounds((1.0, 5 * hiss))[0].demanded
    assert not _sounds((0.05, 0.3))[0].demanded
    loud, masked = _energy((3.0, 0.5)), SourceEnergy("note", round(3 / HOP_S), np.full(1000, 0.04**2))
    source = Source(np.zeros(0, np.float32), "note")
    both = describe_sounds([(source, loud), (source, masked)], round(20 / HOP_S), ROOM)
    assert [(sound.demanded, sound.overlapped) for sound in both] == [(True, False), (False, True)]


def test_a_take_is_decided_by_its_seed() -> None:
    one, same, other = (simulate_take(0.2, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.frames, same.frames)
    assert one.sounds == same.sounds
    assert not np.array_equal(one.frames, other.frames)


def test_the_truth_is_where_the_take_sounds() -> None:
    """In a quiet room the level rises at each onset that follows a silence, to the millisecond."""
    take = simulate_take(1.0, 12, room="line")
    level = np.abs(take.frames - ROOM.dc).max(axis=1)
    checked = 0
    for before, sound in zip(take.sounds, take.sounds[1:], strict=False):
        if sound.onset_s - before.end_s < 0.1 or sound.onset_s - sound.first_energy_s > 0.01 or sound.overlapped:
            continue
        at = round(sound.onset_s * RATE_HZ)
        assert level[at - 2400 : at - 960].max() < 10 * 10 ** (ROOM.hiss_dbfs / 20)
        assert level[at : at + 2400].max() > 2 * level[at - 2400 : at - 960].max()
        checked += 1
    assert checked >= 3


def test_overlap_lets_sounds_begin_over_others() -> None:
    assert not any(sound.overlapped for sound in simulate_take(1.0, 3, room="line").sounds)
    assert sum(sound.overlapped for sound in simulate_take(1.0, 3, room="line", overlap=1.0).sounds) >= 5


def test_the_halves_share_no_recorded_sound(tmp_path: Path) -> None:
    for name in ("drone_1.flac", "Drone2.mp3", "eerie_synth4.mp3", "eerie_synth5.mp3", "laser.mp3", "hat_cab.flac", "notes.txt"):
        (tmp_path / name).touch()
    halves = [find_recorded_sounds([tmp_path, tmp_path / "missing"], half) for half in ("first", "second")]
    assert sorted(path.name for half in halves for path in half) == sorted(
        p.name for p in tmp_path.iterdir() if p.suffix != ".txt"
    )
    families = [{"".join(filter(str.isalpha, path.stem.lower())) for path in half} for half in halves]
    assert not families[0] & families[1]


def _take(*sounds: TrueSound) -> SimulatedTake:
    sources = tuple(
        SourceEnergy(sound.kind, round(sound.onset_s / HOP_S), np.full(round((sound.end_s - sound.onset_s) / HOP_S), 0.01))
        for sound in sounds
    )
    return SimulatedTake(np.zeros((0, 2), np.float32), sounds, sources, "line")


def _true(onset_s: float, end_s: float, demanded: bool = True, continues: bool = False) -> TrueSound:
    return TrueSound(onset_s, onset_s, end_s, "note", demanded, continues, False)


def test_the_score_counts_hits_false_and_early_starts_and_lost_energy() -> None:
    take = _take(_true(1.0, 2.0), _true(5.0, 6.0), _true(6.3, 7.0, demanded=False, continues=True))
    perfect = score_segments(take, [(0.99, 2.1), (4.99, 7.1)])
    assert (perfect.f1, perfect.early_share, sum(perfect.lost.values())) == (1.0, 0.0, 0.0)
    split = score_segments(take, [(0.99, 2.1), (4.99, 6.1), (6.29, 7.1)])
    assert (split.f1, split.inside, split.strict_f1) == (1.0, 1, pytest.approx(0.8))
    late = score_segments(take, [(1.4, 2.1), (4.99, 7.1)])
    assert late.f1 == 1.0
    assert late.lost["note"] / late.energy["note"] == pytest.approx(0.4 / 2.7)
    assert score_segments(take, [(1.6, 2.1), (4.99, 7.1)]).f1 == pytest.approx(0.5)
    early = score_segments(take, [(0.97, 2.1), (3.0, 3.5), (4.99, 7.1)])
    assert early.early == {"note": 1, "silence": 1}
    assert early.false == {"silence": 1}


def test_segment_finds_the_onsets_of_a_small_fixed_set() -> None:
    """benchmarks/onsets.py measures over hours of takes; some short ones suffice to see that a constant is broken."""
    alone, together = OnsetScore(), OnsetScore()
    for score, overlap, seed, room in ((alone, 0.0, 31, "vinyl"), (alone, 0.0, 33, "mixer"), (together, 0.3, 32, "studio")):
        take = simulate_take(1.0, seed, overlap=overlap, room=room)
        score.add(score_segments(take, find_spans(hear_take(take))))
    seen = f"F1 {alone.f1:.3f} and {together.f1:.3f}, early {alone.early_share:.3f} and {together.early_share:.3f}"
    print(seen)
    assert alone.f1 >= 0.95, seen
    assert together.f1 >= 0.9, seen
    assert max(alone.early_share, together.early_share) == 0, seen
