"""The schedule: no entry is lost, doubled or starved; shares are fair; limits report true waits."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generation.engine.admission import GRACE_S
from services.generation.engine.schedule import MOST_TIMES_PASSED, QueueEntry, QueueFullError, QueueLimits, Schedule

WIDE = QueueLimits(entries=10_000, member_entries=10_000, cost_s=1e9, batch=4, batch_s=1e9)
MEMBERS, KINDS = "abc", "xyz"
arrivals = st.tuples(
    st.just("join"), st.sampled_from(MEMBERS), st.sampled_from(KINDS), st.floats(0.01, 50), st.integers(1, 3),
    st.one_of(st.none(), st.integers(0, 40)),
)  # fmt: skip
moves = st.one_of(
    arrivals,
    st.just(("take",)),
    st.just(("small",)),
    st.tuples(st.just("leave"), st.integers(0, 30)),
    st.tuples(st.just("clock"), st.integers(-5, 10)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=80))
def test_every_entry_ends_exactly_once(played: list[tuple]) -> None:  # type: ignore[type-arg]
    """Taken, left, expired or refused: whatever comes in whatever order, at whatever hour."""
    schedule, now, waiting = Schedule(QueueLimits(12, 6, 200.0, 3, 60.0)), 0.0, list[QueueEntry]()
    ended: Counter[int] = Counter()
    everything: list[QueueEntry] = []

    def end(entries: list[QueueEntry]) -> None:
        for entry in entries:
            ended[id(entry)] += 1
            waiting.remove(entry)

    for move in played:
        if move[0] == "join":
            _, member, kind, cost_s, count, life = move
            found = [QueueEntry(member, kind, cost_s, now + life if life is not None else float("inf")) for _ in range(count)]
            try:
                schedule.add_entries(found)
            except QueueFullError:
                continue
            everything += found
            waiting += found
        elif move[0] == "take":
            batch = schedule.take_batch()
            assert len({entry.kind for entry in batch}) <= 1
            assert len(batch) <= 3
            assert bool(batch) == bool(waiting)
            end(batch)
        elif move[0] == "leave" and waiting:
            gone = [waiting[move[1] % len(waiting)]]
            schedule.remove(gone)
            end(gone)
        elif move[0] == "clock":
            now += move[1]
            late = schedule.remove_expired(now)
            assert all(entry.deadline <= now for entry in late)
            end(late)
        elif move[0] == "small":
            end(schedule.take_small_batch(10.0, {"a"}))
        assert len(schedule) == len(waiting)
    while batch := schedule.take_batch():
        end(batch)
    assert all(ended[id(entry)] == 1 for entry in everything)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from(KINDS), st.floats(0.01, 1000)), min_size=1, max_size=6),
    st.floats(0.01, 1000),
)
def test_nobody_starves_whatever_arrives_beside(others: list[tuple[str, str, float]], cost_s: float) -> None:
    schedule = Schedule(WIDE)
    mine = QueueEntry("light", "w", cost_s)
    schedule.add_entries([mine])
    for takes in range(3 * MOST_TIMES_PASSED + 10):
        for member, kind, other_s in others:
            schedule.add_entries([QueueEntry(member, kind, other_s)])
        if mine in schedule.take_batch():
            assert takes <= MOST_TIMES_PASSED + len(MEMBERS) + 1
            return
    pytest.fail("it was never taken")


def test_members_get_equal_shares_of_the_work_not_of_the_requests() -> None:
    schedule, made = Schedule(QueueLimits(10_000, 10_000, 1e9, 1, 1e9)), Counter[str]()
    for _ in range(200):
        schedule.add_entries([QueueEntry("heavy", "x", 4.0)])
    for _ in range(400):
        schedule.add_entries([QueueEntry("light", "y", 1.0)])
    for _ in range(250):
        for entry in schedule.take_batch():
            made[entry.member] += round(entry.cost_s)
    assert abs(made["heavy"] - made["light"]) <= 4


def test_a_new_member_is_next_but_gets_no_credit_for_the_past() -> None:
    schedule = Schedule(QueueLimits(100, 100, 1e9, 1, 1e9))
    for _ in range(20):
        schedule.add_entries([QueueEntry("heavy", "x", 1.0)])
    for _ in range(10):
        schedule.take_batch()
    for _ in range(5):
        schedule.add_entries([QueueEntry("late", "y", 1.0)])
    order = [schedule.take_batch()[0].member for _ in range(8)]
    assert order[:2].count("late") >= 1
    assert order.count("late") <= 5
    assert order.count("heavy") >= 3


def test_a_batch_is_of_one_kind_and_ends_by_number_or_by_cost() -> None:
    schedule = Schedule(QueueLimits(100, 100, 1e9, 4, 2.0))
    for kind, cost_s in (("x", 0.5), ("y", 0.1), ("x", 0.5), ("x", 0.5), ("x", 0.5), ("x", 0.5)):
        schedule.add_entries([QueueEntry("a", kind, cost_s)])
    assert [entry.kind for entry in schedule.take_batch()] == ["x"] * 4
    assert [entry.kind for entry in schedule.take_batch()] == ["y"]
    schedule.add_entries([QueueEntry("b", "z", 1.9), QueueEntry("b", "z", 1.9)])
    assert [len(schedule.take_batch()) for _ in range(3)] == [1, 1, 1]


def test_a_full_queue_names_its_limit_and_the_wait() -> None:
    schedule = Schedule(QueueLimits(4, 2, 100.0, 1, 1.0))
    schedule.add_entries([QueueEntry("a", "x", 10.0), QueueEntry("a", "x", 10.0)])
    with pytest.raises(QueueFullError) as own:
        schedule.add_entries([QueueEntry("a", "x", 10.0)], running_s=3.0)
    assert (own.value.field, own.value.retry_s) == ("member_entries", 13)
    with pytest.raises(QueueFullError) as dear:
        schedule.add_entries([QueueEntry("b", "x", 95.0)], running_s=3.0)
    assert (dear.value.field, dear.value.retry_s) == ("cost_s", 23), "it finds room when nothing waits"
    schedule.add_entries([QueueEntry("b", "x", 5.0)])
    schedule.add_entries([QueueEntry("c", "x", 5.0)])
    with pytest.raises(QueueFullError) as full:
        schedule.add_entries([QueueEntry("d", "x", 5.0)])
    assert full.value.field == "entries"
    schedule.take_batch()
    schedule.add_entries([QueueEntry("d", "x", 5.0)])
    schedule.add_entries([QueueEntry("d", "x", 5.0)], bounded=False)


@pytest.mark.parametrize("part", [0.8, 1.2, 2.0])
@pytest.mark.parametrize("members", [1, 3])
def test_who_waits_as_long_as_it_was_told_gets_in_and_the_line_stays_bounded(part: float, members: int) -> None:
    """Arrivals at a part of what can be done, one second of work a second; everybody who is refused comes back when told."""
    dice, schedule = random.Random(5), Schedule(QueueLimits(1000, 1000, 20.0, 1, 1.0))
    now, free_at, idle_s, longest_s, refused = 0.0, 0.0, 0.0, 0.0, 0
    coming = [(dice.uniform(0, 300), number, False) for number in range(round(300 * part))]
    heapq.heapify(coming)
    while coming and coming[0][0] < 300:
        now, number, back = heapq.heappop(coming)
        while free_at <= now and (batch := schedule.take_batch()):
            free_at += batch[0].cost_s
        idle_s, free_at = idle_s + max(0.0, now - free_at), max(now, free_at)
        entry = QueueEntry(f"m{number % members}", number, dice.choice((0.5, 1.0, 1.5)))
        try:
            schedule.add_entries([entry], free_at - now, now=now, ticket=number)
        except QueueFullError as e:
            assert not back, "it waited as long as it was told"
            refused += 1
            heapq.heappush(coming, (now + e.retry_s, number, True))
        longest_s = max(longest_s, schedule.cost_s)
    assert longest_s <= (20.0 + 1.5 if members == 1 else 2 * 20.0)
    if part > 1:
        assert refused > 20
        assert idle_s < 30


def test_a_promise_is_kept_once_and_not_for_ever() -> None:
    schedule = Schedule(QueueLimits(2, 2, 100.0, 1, 1.0))
    schedule.add_entries([QueueEntry("a", "x", 5.0)])

    def asked(now: float, ticket: str = "mine") -> int:
        try:
            schedule.add_entries([QueueEntry("a", "x", 5.0)], now=now, ticket=ticket)
        except QueueFullError as e:
            return e.retry_s
        return 0

    told = asked(0.0)
    assert told >= 1
    assert asked(told / 2), "too early"
    assert not asked(float(told))
    first, second = asked(100.0, "first"), asked(100.0, "second")
    assert second > first, "who was refused later is told a later time"
    assert asked(100.0 + first + GRACE_S + 1, "first"), "it came too late"
    assert schedule.free_part("b") <= 0 < Schedule(WIDE).free_part("b")


def test_a_heavy_member_leaves_room_for_others() -> None:
    schedule = Schedule(QueueLimits(1000, 1000, 100.0, 1, 1.0))
    for number in range(200):
        with suppress(QueueFullError):
            schedule.add_entries([QueueEntry(("heavy", "flood")[number % 2], number, 10.0)])
    assert schedule.cost_s > 50.0
    schedule.add_entries([QueueEntry("light", "y", 10.0)])
    assert schedule.cost_s <= 100.0


def test_an_empty_queue_accepts_any_cost() -> None:
    schedule = Schedule(QueueLimits(1, 1, 1.0, 1, 1.0))
    schedule.add_entries([QueueEntry("a", "x", 1e6), QueueEntry("a", "x", 1e6)])
    assert len(schedule) == 2


def test_a_short_sound_of_another_member_may_go_between() -> None:
    schedule = Schedule(WIDE)
    schedule.add_entries([QueueEntry("heavy", "x", 50.0)])
    schedule.take_batch()
    schedule.add_entries([QueueEntry("heavy", "x", 1.0)])
    assert schedule.take_small_batch(25.0, {"heavy"}) == []
    schedule.add_entries([QueueEntry("light", "y", 30.0)])
    assert schedule.take_small_batch(25.0, {"heavy"}) == []
    schedule.add_entries([QueueEntry("other", "y", 1.0)])
    assert [entry.member for entry in schedule.take_small_batch(25.0, {"heavy"})] in (["other"], [])


@pytest.mark.parametrize("left_s", [0.1, 0.3, 2.0, 30.0])
def test_a_light_member_waits_no_longer_than_its_own_sound_takes(left_s: float) -> None:
    """Whatever is left of the work of a member who floods: either it is soon done, or the light one goes between."""
    schedule = Schedule(QueueLimits(1000, 1000, 1e6, 8, 2.0))
    for number in range(50):
        schedule.add_entries([QueueEntry("flood", number % 2, 2.0)])
    running = {entry.member for entry in schedule.take_batch()}
    schedule.add_entries([QueueEntry("light", "y", 0.3), QueueEntry("light", "y", 0.3)])
    between = schedule.take_small_batch(left_s, running)
    assert between or left_s <= 0.3
    assert sum(entry.cost_s for entry in between) <= left_s
    assert len(between) == (2 if left_s > 1 else len(between)), "alike ones go together"
    rest = [schedule.take_batch() for _ in range(2)]
    assert between or rest[0][0].member == "light"


def test_the_predicted_wait_grows_with_the_queue() -> None:
    schedule = Schedule(WIDE)
    mine = [QueueEntry("a", "x", 2.0) for _ in range(3)]
    schedule.add_entries(mine)
    schedule.add_entries([QueueEntry("b", "y", 1.0)])
    assert [schedule.predict_wait(entry, 1.0) for entry in mine] == [(1, 4.0), (2, 6.0), (3, 8.0)]
    assert schedule.predict_wait(QueueEntry("a", "x", 1.0)) is None


def test_riding_along_with_others_does_not_starve_ones_own_first_entry() -> None:
    """A member whose entries keep riding in others' batches is served much, and its turn never comes by the shares alone."""
    schedule = Schedule(QueueLimits(10_000, 10_000, 1e9, 8, 1e9))
    mine = QueueEntry("a", "own", 1.0)
    schedule.add_entries([QueueEntry("a", "first", 100.0), mine])
    schedule.add_entries([QueueEntry("b", "shared", 1.0)])
    schedule.take_batch()
    for takes in range(2 * MOST_TIMES_PASSED):
        schedule.add_entries([QueueEntry("a", "shared", 1.0) for _ in range(8)])
        schedule.add_entries([QueueEntry("b", "shared", 1.0)])
        if mine in schedule.take_batch():
            assert takes <= MOST_TIMES_PASSED + 2
            return
    pytest.fail("it was never taken")
