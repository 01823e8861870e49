"""Cutting on sounds made on the spot, with known bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from components.segment.features import extract_features
from components.segment.segment_bounds import SegmentBounds, find_segment_bounds, keep_whole
from components.segment.settings import Settings

RATE = 44_100
Frames = np.ndarray


def _noise(seconds: float, db: float = -66, channels: int = 2, seed: int = 0, rate: int = RATE) -> Frames:
    return (np.random.default_rng(seed).normal(0, 10 ** (db / 20), (round(seconds * rate), channels))).astype(np.float32)


def _tone(seconds: float, hertz: float = 440, amplitude: float = 0.3, decay_s: float = 0.0, rate: int = RATE) -> Frames:
    t = np.arange(round(seconds * rate)) / rate
    envelope = np.exp(-t / decay_s) if decay_s else np.clip((seconds - t) / 0.03, 0, 1)  # a hard end would thump
    return (amplitude * envelope * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None]


def _take(seconds: float, events: list[tuple[float, Frames]], db: float = -66, rate: int = RATE, channels: int = 2) -> Frames:
    take = _noise(seconds, db, channels, rate=rate)
    for start_s, sound in events:
        at = round(start_s * rate)
        take[at : at + len(sound)] += sound
    return take


def _cuts(take: Frames, rate: int = RATE, block: int = 1 << 16, **changes: float) -> list[SegmentBounds]:
    settings = Settings(**changes)
    blocks = (take[i : i + block] for i in range(0, len(take), block))
    return find_segment_bounds(extract_features(blocks, rate, settings.highpass_hz), settings)


def _starts(cuts: list[SegmentBounds], rate: int = RATE) -> list[float]:
    return [cut.start_frame / rate for cut in cuts]


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
@pytest.mark.parametrize("amplitude", [0.5, 0.02])
def test_no_segment_starts_early_or_after_its_attack(rate: int, amplitude: float) -> None:
    times = [0.731, 2.013, 3.5005, 5.25]
    take = _take(7, [(t, _tone(0.6, 300 + 200 * i, amplitude, rate=rate)) for i, t in enumerate(times)], rate=rate)
    starts = _starts(_cuts(take, rate), rate)
    assert len(starts) == len(times)
    for start, time in zip(starts, times, strict=True):
        assert -0.020 <= start - time <= 0.003


def test_decays_are_kept() -> None:
    cuts = _cuts(_take(8, [(1.0, _tone(6, decay_s=0.5))]))
    assert len(cuts) == 1
    heard_until_s = 1.0 + 0.5 * np.log(0.3 / 10 ** (-66 / 20))  # where the decay meets the noise
    assert cuts[0].end_frame / RATE > heard_until_s - 0.3


def test_hum_dc_and_hiss_are_no_sound() -> None:
    t = np.arange(20 * RATE)[:, None] / RATE
    bed = (0.0006 * np.sin(2 * np.pi * 50 * t) + 0.002).astype(np.float32)
    take = _take(20, [(8.0, _tone(1.0)), (14.0, _tone(1.0, 900))]) + bed
    assert _starts(_cuts(take)) == pytest.approx([8.0, 14.0], abs=0.02)


def test_louder_hiss_moves_the_floor() -> None:
    quiet, loud = (_starts(_cuts(_take(10, [(4.0, _tone(1.0))], db=db))) for db in (-90, -50))
    assert quiet == pytest.approx([4.0], abs=0.02)
    assert loud == pytest.approx([4.0], abs=0.02)


def test_a_drone_without_any_silence_is_one_sound() -> None:
    cuts = _cuts(_tone(20, 110).repeat(2, axis=1) + _noise(20), max_s=60)
    assert [(c.start_frame, c.end_frame) for c in cuts] == [(0, 20 * RATE)]


def test_events_with_a_short_gap_are_two_when_they_differ() -> None:
    take = _take(5, [(1.0, _tone(0.8, 200)), (1.95, _tone(0.8, 3000))])
    assert _starts(_cuts(take)) == pytest.approx([1.0, 1.95], abs=0.02)


def test_the_same_sound_again_is_one_phrase() -> None:
    notes = [(1.0 + 0.5 * n, _tone(0.25, 500)) for n in range(6)]
    assert _starts(_cuts(_take(6, notes))) == pytest.approx([1.0], abs=0.02)
    assert len(_cuts(_take(6, notes), phrase_gap_s=0)) == 6


def test_a_long_take_is_cut_where_least_happens() -> None:
    dips = np.ones(20 * RATE, np.float32)
    dips[8 * RATE : round(8.4 * RATE)] = 0.05
    take = _tone(20, 220).repeat(2, axis=1) * dips[:, None] + _noise(20)
    cuts = _cuts(take, max_s=10)
    assert [c.continued for c in cuts] == [False, *[True] * (len(cuts) - 1)]
    assert 7.9 <= cuts[1].start_frame / RATE <= 8.5
    assert all(a.end_frame == b.start_frame for a, b in itertools.pairwise(cuts))
    assert all(c.end_frame - c.start_frame <= 10 * RATE for c in cuts)


def test_short_sounds_get_the_shortest_length_and_clicks_are_left_out() -> None:
    take = _take(6, [(1.0, _tone(0.12)), (4.0, _tone(0.004, 3000))])
    cuts = _cuts(take, min_s=0.5)
    assert len(cuts) == 1
    assert cuts[0].end_frame - cuts[0].start_frame >= 0.5 * RATE


@pytest.mark.parametrize("take", [np.zeros((0, 1)), np.zeros((1, 1)), np.zeros((RATE, 2)), _noise(3, -80)], ids=str)
def test_nothing_to_cut(take: Frames) -> None:
    assert _cuts(take.astype(np.float32)) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_a_sound_in_one_channel_is_heard(channels: int) -> None:
    take = _noise(4, channels=channels)
    take[RATE : 2 * RATE, channels - 1 :] += _tone(1.0)
    assert _starts(_cuts(take)) == pytest.approx([1.0], abs=0.02)


def test_opposite_channels_do_not_cancel() -> None:
    take = _noise(4)
    take[RATE : 2 * RATE] += _tone(1.0) * (1, -1)
    assert _starts(_cuts(take)) == pytest.approx([1.0], abs=0.02)


def test_blocks_of_any_length_cut_the_same() -> None:
    take = _take(6, [(1.0, _tone(1.0, decay_s=0.3)), (3.3, _tone(0.7, 1000))])
    whole = _cuts(take, block=len(take))
    assert whole == _cuts(take, block=1001) == _cuts(take, block=48_000)
    assert len(whole) == 2


def test_a_clip_may_stay_as_it_is_with_the_silence_in_it() -> None:
    take = _take(6, [(1.0, _tone(0.5)), (4.0, _tone(0.5, 1000))])
    heard = extract_features([take], RATE, 30.0)
    assert keep_whole(heard, Settings(whole=True)) == [SegmentBounds(0, len(take))]
    parts = keep_whole(heard, Settings(whole=True, max_s=4))
    assert [part.continued for part in parts] == [False, True]
    assert (parts[0].start_frame, parts[0].end_frame, parts[-1].end_frame) == (0, parts[1].start_frame, len(take))


def test_cuts_are_in_order_and_do_not_overlap() -> None:
    rng = np.random.default_rng(3)
    events = [(t, _tone(rng.uniform(0.05, 1.5), rng.uniform(80, 4000), rng.uniform(0.01, 0.5))) for t in rng.uniform(0, 28, 30)]
    cuts = _cuts(_take(30, events))
    assert cuts
    assert all(a.end_frame <= b.start_frame for a, b in itertools.pairwise(cuts))
    assert all(0 <= c.start_frame < c.end_frame <= 30 * RATE for c in cuts)


def test_a_faint_beginning_is_followed_but_never_before_it_sounds() -> None:
    """A tone 20 dB under the hiss for 0.6 s, then loud: at ten places within a look of 85 ms."""
    rng = np.random.default_rng(1)
    starts = [3.0 + 4 * i + 0.0085 * i for i in range(10)]
    faint = np.concatenate([_tone(0.6, 700, 0.0002), _tone(0.8, 700, 0.2)])
    cuts = _cuts(_take(44, [(t, faint * rng.choice([-1, 1])) for t in starts]))
    assert len(cuts) == len(starts)
    late = [cut - start for cut, start in zip(_starts(cuts), starts, strict=True)]
    assert min(late) > -0.020
    assert np.median(late) < 0.2


def test_a_beginning_may_sink_under_the_noise_for_a_moment() -> None:
    faint = _tone(1.2, 700, 0.0003)
    faint[RATE:] = 0  # gone for 0.2 s before the onset
    cuts = _cuts(_take(10, [(4.0, np.concatenate([faint, _tone(0.8, 700, 0.2)]))]))
    assert len(cuts) == 1
    assert -0.02 <= _starts(cuts)[0] - 4.0 < 0.2


@pytest.mark.parametrize(("amplitude", "sounds"), [(0.0001, 1), (0.0, 2)])
def test_a_tone_held_far_under_the_hiss_keeps_a_phrase_together(amplitude: float, sounds: int) -> None:
    """The same tone again; another one is a new sound, unless no sound is to be cut from one that still sounds."""
    same, other = (np.concatenate([_tone(1.0, 300), _tone(4.0, 175, amplitude), _tone(1.0, hertz)]) for hertz in (300, 1900))
    assert len(_cuts(_take(40, [(10.0, same)]))) == sounds
    assert len(_cuts(_take(40, [(10.0, other)]))) == 2
    assert len(_cuts(_take(40, [(10.0, other)]), new_sound_probability=1)) == sounds


def test_a_hum_that_is_switched_on_holds_nothing_together() -> None:
    take = _take(150, [(t, _tone(0.5, h)) for t, h in ((20.0, 300), (24.0, 1900), (100.0, 300), (104.0, 1900))])
    take[60 * RATE :] += _tone(90, 175, 0.0001)
    assert _starts(_cuts(take)) == pytest.approx([20, 24, 100, 104], abs=0.02)


def _chord(seconds: float, hertz: float, amplitude: float, decay_s: float = 0.0) -> Frames:
    """Twelve partials: the spectrum of an instrument."""
    return np.sum([_tone(seconds, n * hertz, amplitude / n, decay_s) for n in range(1, 13)], axis=0, dtype=np.float32)


def test_a_sound_that_begins_over_another_one_is_cut_off() -> None:
    """A second player begins over a chord that still sounds; the same chord again, louder, is the same sound."""
    first, second = _chord(3.2, 110, 0.2), _chord(3.0, 930, 0.2)
    take = _take(10, [(1.0, first), (3.5, second)])
    assert _starts(_cuts(take)) == pytest.approx([1.0, 3.5], abs=0.02)
    assert _starts(_cuts(take, new_sound_probability=1)) == pytest.approx([1.0], abs=0.02)
    assert _starts(_cuts(_take(10, [(1.0, first), (3.5, 2 * first[: 2 * RATE])]))) == pytest.approx([1.0], abs=0.02)


def test_a_sound_over_a_decay_begins_where_it_begins() -> None:
    """At eight places within a window of 85 ms: never more than 20 ms early."""
    for shift in range(8):
        at = 3.0 + 0.011 * shift
        cuts = _cuts(_take(8, [(1.0, _chord(6.0, 90, 0.2, decay_s=0.5)), (at, _chord(4.0, 930, 0.2, decay_s=1.5))]))
        assert len(cuts) == 2
        assert -0.020 <= _starts(cuts)[1] - at <= 0.02


def _crackle(impulses: int, seconds: float, amplitude: float = 0.03, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    out = np.zeros((round(seconds * RATE), 1), np.float32)
    for at in rng.integers(0, len(out) - 20, impulses):
        out[at : at + 20] += (amplitude * rng.standard_normal((20, 1))).astype(np.float32)
    return out


def test_crackle_begins_no_segment_and_none_starts_with_it() -> None:
    beside = _take(20, [(0.0, _crackle(60, 19.0, seed=2)), (10.0, _tone(1.0, 600, 0.3))])
    assert _starts(_cuts(beside)) == pytest.approx([10.0], abs=0.02)
    before = _take(
        20,
        [
            (4.0 + 3 * n, np.concatenate([_crackle(1, 0.08, seed=n), np.zeros((round(0.17 * RATE), 1), np.float32), _tone(0.8)]))
            for n in range(5)
        ],
    )
    assert _starts(_cuts(before)) == pytest.approx([4.25 + 3 * n for n in range(5)], abs=0.02)


def test_notes_of_a_sequencer_are_one_phrase_and_uneven_ones_are_not() -> None:
    pitches = (300, 800, 2500, 500, 1300, 3100)
    even = _take(8, [(1.0 + 0.4 * n, _tone(0.2, hertz)) for n, hertz in enumerate(pitches)])
    assert _starts(_cuts(even)) == pytest.approx([1.0], abs=0.02)
    times = [1.0, 1.4, 2.1, 2.45, 3.4, 3.9]
    uneven = _take(8, [(at, _tone(0.2, hertz)) for at, hertz in zip(times, pitches, strict=True)])
    assert _starts(_cuts(uneven)) == pytest.approx(times, abs=0.02)


def test_a_sound_ten_decibels_over_the_hiss_is_kept() -> None:
    quiet = 10 ** (-66 / 20) * 10 ** (2 / 20)  # of a tone: 11 to 13 dB over the hiss of its band
    assert _starts(_cuts(_take(10, [(2.0, _tone(1.0, 1500, 2 * quiet)), (6.0, _tone(1.0, 600, 0.3))]))) == pytest.approx(
        [2.0, 6.0], abs=0.1
    )


@pytest.mark.parametrize(("step_s", "segments"), [(0.8, 1), (1.15, 1), (1.3, 5), (2.2, 5)])
def test_sounds_that_follow_slowly_are_sounds_of_their_own(step_s: float, segments: int) -> None:
    """As in a sampler's chromatic recording: a sequencer's steps are faster."""
    take = _take(13, [(0.5 + step_s * i, _tone(0.6, 200 + 60 * i)) for i in range(5)])
    assert len(_cuts(take)) == segments
