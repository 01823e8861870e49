"""Jobs in the store: crashes, clocks and several workers. None is lost, none ends twice."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audiotune.errors import StoreError
from audiotune.generation import GenerationRequest
from services.generation.jobs.book import Book, LostError, TakenError
from services.generation.jobs.record import Event, Job
from services.generation.jobs.runner import Maker, Runner, in_turn
from tests.fakes.memory_store import Killed, MemoryStore
from tests.fakes.service import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASK = GenerationRequest(prompt="a drone", seed=1)
LEASE_S = 10.0


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Slow(Maker):
    """Needs some rounds for each job. `ended` counts what came to its end by its own work."""

    rounds: int = 2
    left: dict[int, int] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    full: bool = False
    crowded: set[str] = field(default_factory=set)

    def ready(self) -> bool:
        return not self.full

    def room(self, member: str) -> bool:
        return member not in self.crowded

    def begin(self, job: Job) -> Any:
        self.begun.append(job.id)
        handle = [job.id]
        self.left[id(handle)] = self.rounds
        return handle

    def done(self, handle: Any) -> bool:
        self.left[id(handle)] -= 1
        return self.left[id(handle)] <= 0

    def ending(self, job: Job, handle: Any) -> Event:
        return Event(kind="done")

    def leave(self, handle: Any) -> None:
        self.dropped.append(handle[0])


def runner(store: MemoryStore, clock: Clock, maker: Maker | None = None) -> Runner:
    made = Runner(Book(store), maker or Slow(), lease_s=LEASE_S, clock=clock)
    made.beat()
    return made


def ends(store: MemoryStore, member: str, id: str) -> int:
    """How many of a job's events end it."""
    kinds = [json.loads(store.get(entry.key))["kind"] for entry in store.list(f"jobs/log/{member}/{id}/")]
    return sum(kind in ("done", "failed", "cancelled") for kind in kinds)


played = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(0, 7)),
        st.tuples(st.just("step"), st.integers(0, 2)),
        st.tuples(st.just("step"), st.integers(0, 2)),
        st.tuples(st.just("beat"), st.integers(0, 2)),
        st.tuples(st.just("kill"), st.integers(0, 2), st.integers(0, 4)),
        st.tuples(st.just("clock"), st.integers(0, 15)),
        st.tuples(st.just("cancel"), st.integers(0, 7)),
        st.tuples(st.just("away"), st.integers(0, 2)),
    ),
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@example([("make", 0), ("step", 0), ("step", 0), ("clock", 15), ("beat", 1), ("step", 1), ("step", 0)])  # a late end
@example([("make", 0), ("step", 0), ("clock", 15), ("beat", 1), ("kill", 1, 1), ("step", 0)])  # killed after its claim
@given(played)
def test_no_job_is_lost_and_none_ends_twice(moves: list[tuple[Any, ...]]) -> None:
    """Three workers that die in the midst of their writes, fall silent and come back, on a clock that jumps."""
    store, clock = MemoryStore(), Clock()
    workers = [runner(store, clock) for _ in range(3)]
    accepted: set[str] = set()
    book = Book(store)
    for move in moves:
        if move[0] == "make":
            id = f"job-{move[1]:05d}"
            assert book.make("ana", id, ASK, now=clock()).id == id
            accepted.add(id)
        elif move[0] == "step":
            workers[move[1]].step()
        elif move[0] == "beat":
            workers[move[1]].beat()
        elif move[0] == "kill":
            store.writes_left = move[2]
            with suppress(Killed):  # it may need fewer writes than it has left; the process dies all the same
                workers[move[1]].step()
            store.writes_left = None
            workers[move[1]] = runner(store, clock)
        elif move[0] == "clock":
            clock.now += timedelta(seconds=move[1])
        elif move[0] == "cancel":
            book.end("ana", f"job-{move[1]:05d}", Event(kind="cancelled", at=clock()))
        elif move[0] == "away":
            store.away = True
            with suppress(StoreError):
                workers[move[1]].step()
            store.away = False
    for _ in range(60):
        clock.now += timedelta(seconds=LEASE_S / 3)
        for worker in workers:
            worker.beat()
            worker.step()
    for id in accepted:
        job = book.read("ana", id)
        assert job is not None
        assert job.ended
        assert ends(store, "ana", id) == 1
    assert not list(book.open())


def test_the_same_request_makes_one_job_and_another_is_refused() -> None:
    book = Book(MemoryStore())
    first = book.make("ana", "job-00001", ASK, now=NOW)
    again = book.make("ana", "job-00001", ASK.model_copy(update={"seed": 99}), now=NOW + timedelta(hours=1))
    assert again == first
    with pytest.raises(TakenError):
        book.make("ana", "job-00001", GenerationRequest(prompt="something else", seed=1))
    assert book.make("ben", "job-00001", GenerationRequest(prompt="something else", seed=1)).member == "ben"
    assert len(list(book.open())) == 2


def test_a_maker_who_died_between_record_and_marker_is_made_good_by_the_retry() -> None:
    store = MemoryStore()
    store.writes_left = 1
    with pytest.raises(Killed):
        Book(store).make("ana", "job-00001", ASK)
    store.writes_left = None
    assert not list(Book(store).open())
    Book(store).make("ana", "job-00001", ASK)
    assert [id for _, _, id in Book(store).open()] == ["job-00001"]


def test_a_silent_workers_job_is_taken_over_and_its_late_end_is_dropped() -> None:
    store, clock = MemoryStore(), Clock()
    slow, other = Slow(rounds=2), Slow(rounds=1)
    first, second = runner(store, clock, slow), runner(store, clock, other)
    Book(store).make("ana", "job-00001", ASK, now=NOW)
    first.step()
    first.step()
    second.step()
    assert other.begun == [], "its worker is alive"
    clock.now += timedelta(seconds=LEASE_S + 1)
    second.beat()
    second.step()
    assert other.begun == ["job-00001"]
    first.step()  # it is done now, and too late: the number after its claim is taken
    second.step()
    job = Book(store).read("ana", "job-00001")
    assert job is not None
    assert job.state == "done"
    assert ends(store, "ana", "job-00001") == 1


def test_a_cancelled_job_is_dropped_by_the_worker_that_holds_it() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=9)
    worker = runner(store, clock, slow)
    Book(store).make("ana", "job-00001", ASK, now=NOW)
    worker.step()
    ended = Book(store).end("ana", "job-00001", Event(kind="cancelled"))
    assert ended is not None
    assert ended.state == "cancelled"
    worker.step()
    assert slow.dropped == ["job-00001"]
    assert not worker.held
    with pytest.raises(LostError):
        Book(store).append(ended, Event(kind="done"))


def test_a_worker_hears_between_its_rounds_that_another_replica_ended_its_job() -> None:
    """While a round is under way, too: keeping a sound may take long."""
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=9)
    worker = Runner(Book(store), slow, lease_s=LEASE_S, poll_s=60, cancel_s=0.01, clock=clock)
    for number in (1, 2):
        Book(store).make("ana", f"job-0000{number}", ASK, now=NOW)
    worker.start()
    until(lambda: len(slow.begun) == 2)
    with worker._lock:
        Book(store).end("ana", "job-00001", Event(kind="cancelled"))
        until(lambda: slow.dropped)
    assert set(slow.dropped) == {"job-00001"}
    worker.close()
    assert ends(store, "ana", "job-00001") == 1
    job = Book(store).read("ana", "job-00002")
    assert job is not None
    assert job.state == "queued"


def test_a_worker_that_stops_hands_back_and_the_next_need_not_wait() -> None:
    store, clock = MemoryStore(), Clock()
    worker, other = runner(store, clock, Slow(rounds=9)), Slow(rounds=1)
    Book(store).make("ana", "job-00001", ASK, now=NOW)
    worker.step()
    worker.close()
    runner(store, clock, other).step()
    assert other.begun == ["job-00001"]


def test_a_full_engine_claims_nothing() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(full=True)
    Book(store).make("ana", "job-00001", ASK, now=NOW)
    runner(store, clock, slow).step()
    job = Book(store).read("ana", "job-00001")
    assert job is not None
    assert (job.state, job.length) == ("queued", 1)


def test_a_member_whose_line_is_full_holds_nobody_up() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(crowded={"ana"})
    for number, member in enumerate(("ana", "ben")):
        Book(store).make(member, f"job-0000{number}", ASK, now=NOW)
    runner(store, clock, slow).step()
    assert slow.begun == ["job-00001"]
    waits = Book(store).read("ana", "job-00000")
    assert waits is not None
    assert waits.length == 1, "it is not claimed and handed back again and again"


def test_a_job_that_kills_its_workers_is_given_up() -> None:
    store, clock = MemoryStore(), Clock()
    Book(store).make("ana", "job-00001", ASK, now=NOW)
    for _ in range(30):
        runner(store, clock, Slow(rounds=99)).step()
        clock.now += timedelta(seconds=LEASE_S + 1)
    job = Book(store).read("ana", "job-00001")
    assert job is not None
    assert job.state == "failed"
    assert job.problem is not None
    assert job.problem["code"] == "gave-up"


def test_members_jobs_are_listed_newest_first_page_by_page() -> None:
    book = Book(MemoryStore())
    for number in range(5):
        book.make("ana", f"job-{number:05d}", ASK, now=NOW + timedelta(seconds=number))
    book.make("ben", "job-of-ben", ASK, now=NOW)
    page, mark = book.listed("ana", 3)
    assert [job.id[-1] for job in page] == ["4", "3", "2"]
    rest, end = book.listed("ana", 3, mark)
    assert [job.id[-1] for job in rest] == ["1", "0"]
    assert end == ""


def test_ended_jobs_leave_when_their_time_is_over_and_waiting_ones_stay() -> None:
    store = MemoryStore()
    book = Book(store)
    old, _, young = (book.make("ana", f"job-{n:05d}", ASK, now=NOW + timedelta(days=d)) for n, d in enumerate((0, 0, 9)))
    book.end("ana", old.id, Event(kind="cancelled"))
    book.end("ana", young.id, Event(kind="cancelled"))
    assert book.sweep(NOW + timedelta(days=10), timedelta(days=5)) == 1
    assert [job.id for job in book.listed("ana", 9)[0]] == ["job-00002", "job-00001"]


def test_sounds_leave_when_their_time_is_over() -> None:
    store = MemoryStore()
    store.put("sounds/ab/abcd.wav", b"RIFF")
    store.put("manifests/generations/abcd.json", b"{}")
    Book(store).sweep(store.written, timedelta(days=1))
    assert store.exists("sounds/ab/abcd.wav")
    Book(store).sweep(store.written + timedelta(days=2), timedelta(days=1))
    assert not store.exists("sounds/ab/abcd.wav")
    assert store.exists("manifests/generations/abcd.json")


def test_everybodys_first_comes_before_anybodys_second() -> None:
    found = in_turn([("1", "ana", "a1"), ("2", "ana", "a2"), ("3", "ana", "a3"), ("4", "ben", "b1")])
    assert [id for _, _, id in found] == ["a1", "b1", "a2", "a3"]
