"""Jobs in the store: crashes, clocks and several workers. None is lost, none ends twice."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audiotune.domain.generation import GenerationRequest
from audiotune.errors import GenerationError, NotInStoreError, StoreError
from services.generation.errors import BusyError, DamagedJobError, OutOfBoundsError
from services.generation.http.problems import describe_failure
from services.generation.jobs.events import GenerationJob, JobEvent
from services.generation.jobs.job_store import JobChangedError, JobIdTakenError, JobStore
from services.generation.jobs.worker import MOST_EVENTS, JobMaker, JobWorker, interleave_members
from tests.fakes.in_process_service import until
from tests.fakes.memory_store import Killed, MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASK = GenerationRequest(prompt="a drone", seed=1)
LEASE_S = 10.0


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Slow(JobMaker):
    """Needs some rounds for each job. `ended` counts what came to its end by its own work."""

    rounds: int = 2
    left: dict[int, int] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    full: bool = False
    crowded: set[str] = field(default_factory=set)
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)

    def is_ready(self) -> bool:
        return not self.full

    def has_room(self, member: str) -> bool:
        return member not in self.crowded

    def can_begin(self, job: GenerationJob, beside: Collection[GenerationJob]) -> bool:
        return job.id not in self.unready

    def begin(self, job: GenerationJob) -> Any:
        self.begun.append(job.id)
        if self.errors.get(job.id):
            raise self.errors[job.id].pop(0)
        handle = [job.id]
        self.left[id(handle)] = self.rounds
        return handle

    def is_done(self, handle: Any) -> bool:
        self.left[id(handle)] -= 1
        return self.left[id(handle)] <= 0

    def end_event(self, job: GenerationJob, handle: Any) -> JobEvent:
        return JobEvent(kind="done")

    def cancel(self, handle: Any) -> None:
        self.dropped.append(handle[0])


def start_worker(store: MemoryStore, clock: Clock, maker: JobMaker | None = None) -> JobWorker:
    made = JobWorker(JobStore(store), maker or Slow(), lease_s=LEASE_S, describe_failure=describe_failure, clock=clock)
    made.write_heartbeat()
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
    workers = [start_worker(store, clock) for _ in range(3)]
    accepted: set[str] = set()
    book = JobStore(store)
    for move in moves:
        if move[0] == "make":
            id = f"job-{move[1]:05d}"
            assert book.create("ana", id, ASK, now=clock()).id == id
            accepted.add(id)
        elif move[0] == "step":
            workers[move[1]].run_round()
        elif move[0] == "beat":
            workers[move[1]].write_heartbeat()
        elif move[0] == "kill":
            store.writes_left = move[2]
            with suppress(Killed):  # it may need fewer writes than it has left; the process dies all the same
                workers[move[1]].run_round()
            store.writes_left = None
            workers[move[1]] = start_worker(store, clock)
        elif move[0] == "clock":
            clock.now += timedelta(seconds=move[1])
        elif move[0] == "cancel":
            book.end("ana", f"job-{move[1]:05d}", JobEvent(kind="cancelled", at=clock()))
        elif move[0] == "away":
            store.away = True
            with suppress(StoreError):
                workers[move[1]].run_round()
            store.away = False
    for _ in range(60):
        clock.now += timedelta(seconds=LEASE_S / 3)
        for worker in workers:
            worker.write_heartbeat()
            worker.run_round()
    for id in accepted:
        job = book.read("ana", id)
        assert job is not None
        assert job.has_ended
        assert ends(store, "ana", id) == 1
    assert not list(book.list_open())


def test_the_same_request_makes_one_job_and_another_is_refused() -> None:
    book = JobStore(MemoryStore())
    first = book.create("ana", "job-00001", ASK, now=NOW)
    again = book.create("ana", "job-00001", ASK.model_copy(update={"seed": 99}), now=NOW + timedelta(hours=1))
    assert again == first
    with pytest.raises(JobIdTakenError):
        book.create("ana", "job-00001", GenerationRequest(prompt="something else", seed=1))
    assert book.create("ben", "job-00001", GenerationRequest(prompt="something else", seed=1)).member == "ben"
    assert len(list(book.list_open())) == 2


def test_a_maker_who_died_between_record_and_marker_is_made_good_by_the_retry() -> None:
    store = MemoryStore()
    store.writes_left = 1
    with pytest.raises(Killed):
        JobStore(store).create("ana", "job-00001", ASK)
    store.writes_left = None
    assert not list(JobStore(store).list_open())
    JobStore(store).create("ana", "job-00001", ASK)
    assert [id for _, _, id in JobStore(store).list_open()] == ["job-00001"]


def test_a_silent_workers_job_is_taken_over_and_its_late_end_is_dropped() -> None:
    store, clock = MemoryStore(), Clock()
    slow, other = Slow(rounds=2), Slow(rounds=1)
    first, second = start_worker(store, clock, slow), start_worker(store, clock, other)
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    first.run_round()
    first.run_round()
    second.run_round()
    assert other.begun == [], "its worker is alive"
    clock.now += timedelta(seconds=LEASE_S + 1)
    second.write_heartbeat()
    second.run_round()
    assert other.begun == ["job-00001"]
    first.run_round()  # it is done now, and too late: the number after its claim is taken
    second.run_round()
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert job.state == "done"
    assert ends(store, "ana", "job-00001") == 1


def test_a_cancelled_job_is_dropped_by_the_worker_that_holds_it() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=9)
    worker = start_worker(store, clock, slow)
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    worker.run_round()
    ended = JobStore(store).end("ana", "job-00001", JobEvent(kind="cancelled"))
    assert ended is not None
    assert ended.state == "cancelled"
    worker.run_round()
    assert slow.dropped == ["job-00001"]
    assert not worker.claimed_jobs
    with pytest.raises(JobChangedError):
        JobStore(store).append(ended, JobEvent(kind="done"))


def test_a_worker_hears_between_its_rounds_that_another_replica_ended_its_job() -> None:
    """While a round is under way, too: keeping a sound may take long."""
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=9)
    worker = JobWorker(
        JobStore(store), slow, lease_s=LEASE_S, describe_failure=describe_failure, poll_s=60, cancel_s=0.01, clock=clock
    )
    for number in (1, 2):
        JobStore(store).create("ana", f"job-0000{number}", ASK, now=NOW)
    worker.start()
    until(lambda: len(slow.begun) == 2)
    with worker._lock:
        JobStore(store).end("ana", "job-00001", JobEvent(kind="cancelled"))
        until(lambda: slow.dropped)
    assert set(slow.dropped) == {"job-00001"}
    worker.close()
    assert ends(store, "ana", "job-00001") == 1
    job = JobStore(store).read("ana", "job-00002")
    assert job is not None
    assert job.state == "queued"


def test_a_worker_that_stops_hands_back_and_the_next_need_not_wait() -> None:
    store, clock = MemoryStore(), Clock()
    worker, other = start_worker(store, clock, Slow(rounds=9)), Slow(rounds=1)
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    worker.run_round()
    worker.close()
    start_worker(store, clock, other).run_round()
    assert other.begun == ["job-00001"]


def test_a_full_engine_claims_nothing() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(full=True)
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    start_worker(store, clock, slow).run_round()
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert (job.state, job.length) == ("queued", 1)


def test_a_member_whose_line_is_full_holds_nobody_up() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(crowded={"ana"})
    for number, member in enumerate(("ana", "ben")):
        JobStore(store).create(member, f"job-0000{number}", ASK, now=NOW)
    start_worker(store, clock, slow).run_round()
    assert slow.begun == ["job-00001"]
    waits = JobStore(store).read("ana", "job-00000")
    assert waits is not None
    assert waits.length == 1, "it is not claimed and handed back again and again"


def test_a_job_that_kills_its_workers_is_given_up() -> None:
    store, clock = MemoryStore(), Clock()
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    makers = [Slow(rounds=99) for _ in range(5)]
    for maker in makers:
        start_worker(store, clock, maker).run_round()
        clock.now += timedelta(seconds=LEASE_S + 1)
    assert [len(maker.begun) for maker in makers] == [1, 1, 1, 0, 0]
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert job.state == "failed"
    assert job.problem is not None
    assert job.problem["code"] == "gave-up"
    assert "3 workers ended while they made it" in job.problem["detail"]


def test_a_job_that_kills_its_workers_takes_no_other_with_it() -> None:
    """Sixteen jobs are at work when a worker dies; which of them killed it shows when each is made alone."""
    store, clock = MemoryStore(), Clock()
    for number in range(6):
        JobStore(store).create("ana", f"job-{number:05d}", ASK, now=NOW + timedelta(seconds=number))
    deaths = 0
    for _ in range(60):
        maker = Slow(rounds=1)
        worker = start_worker(store, clock, maker)
        for _ in range(20):
            worker.write_heartbeat()
            worker.run_round()
            if "job-00003" in maker.begun:
                deaths += 1
                break
        clock.now += timedelta(seconds=LEASE_S + 1)
    jobs = [JobStore(store).read("ana", f"job-{number:05d}") for number in range(6)]
    assert [job.state for job in jobs if job] == ["done", "done", "done", "failed", "done", "done"]
    assert deaths == 3


def test_a_job_that_may_have_killed_its_worker_waits_until_the_others_are_made_and_is_made_alone() -> None:
    store, clock = MemoryStore(), Clock()
    JobStore(store).create("ana", "job-00000", ASK, now=NOW + timedelta(seconds=1))
    start_worker(store, clock, Slow(rounds=99)).run_round()
    clock.now += timedelta(seconds=LEASE_S + 1)
    JobStore(store).create("ben", "job-00001", ASK, now=NOW)
    slow = Slow(rounds=2)
    worker = start_worker(store, clock, slow)
    worker.run_round()
    JobStore(store).create("chi", "job-00002", ASK, now=NOW + timedelta(seconds=2))
    assert slow.begun == ["job-00001"]
    for _ in range(2):
        worker.run_round()
    assert slow.begun == ["job-00001", "job-00000"]
    for _ in range(3):
        worker.run_round()
    assert slow.begun == ["job-00001", "job-00000", "job-00002"]


def test_a_job_that_cannot_be_begun_yet_is_not_claimed_and_holds_nobody_up() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(unready={"job-00000"})
    for number in range(2):
        JobStore(store).create("ana", f"job-0000{number}", ASK, now=NOW + timedelta(seconds=number))
    worker = start_worker(store, clock, slow)
    for _ in range(9):
        worker.run_round()
    waits = JobStore(store).read("ana", "job-00000")
    assert waits is not None
    assert (waits.state, waits.length) == ("queued", 1)
    assert slow.begun == ["job-00001"]


def test_the_events_of_a_job_that_is_handed_back_again_and_again_are_bounded() -> None:
    store, clock = MemoryStore(), Clock()
    maker = Slow(rounds=1, errors={"job-00001": [BusyError("full")] * 1000})
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    worker, claims = start_worker(store, clock, maker), []
    for _ in range(4 * 3600):
        clock.now += timedelta(seconds=1)
        worker.run_round()
        claims.append(len(maker.begun))
    assert claims[60] < 10, "it rests longer and longer"
    assert claims[-1] == (MOST_EVENTS - 1) // 2 + 1
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert (job.state, job.length) == ("failed", MOST_EVENTS + 2)


@pytest.mark.parametrize(
    ("error", "status", "code", "reason"),
    [
        (ZeroDivisionError("by zero"), 500, "bug", "ZeroDivisionError"),
        (GenerationError("the release has no such sampler"), 503, "failed", "no such sampler"),
        (OutOfBoundsError("seconds must be at most 4", where="seconds", cure="at most 4"), 422, "out-of-bounds", "at most 4"),
        (NotInStoreError("no such key", where="sounds/ab"), 503, "away", "sounds/ab"),
    ],
)
def test_a_job_that_cannot_be_begun_fails_at_once_and_holds_nobody_up(
    error: Exception, status: int, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, clock, maker = MemoryStore(), Clock(), Slow(rounds=1, errors={"job-00000": [error]})
    for number in range(2):
        JobStore(store).create("ana", f"job-0000{number}", ASK, now=NOW + timedelta(seconds=number))
    start_worker(store, clock, maker).run_round()
    job = JobStore(store).read("ana", "job-00000")
    assert job is not None
    assert (job.state, job.tries) == ("failed", 1)
    assert job.problem is not None
    assert (job.problem["status"], job.problem["code"]) == (status, code)
    assert reason in job.problem["detail"]
    assert maker.begun == ["job-00000", "job-00001"]
    assert ("Traceback" in caplog.text) == (code == "bug")


def test_a_job_whose_events_cannot_be_read_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=1)
    jobs, worker, key = JobStore(store), start_worker(store, clock, slow), "jobs/log/ana/job-00000/000001.json"
    for number in range(2):
        jobs.create("ana", f"job-0000{number}", ASK, now=NOW + timedelta(seconds=number))
    store.put(key, b'{"kind": "cla')
    for _ in range(3):
        worker.run_round()
    assert slow.begun == ["job-00001"]
    reports = [record.getMessage() for record in caplog.records if key in record.getMessage()]
    assert len(reports) == 1, "once, not in every round"
    assert "Start the version of Audio Tune that wrote it, or delete jobs/log/ana/job-00000/" in reports[0]
    assert [id for _, _, id in jobs.list_open()] == ["job-00000"], "it waits until somebody repairs or deletes it"
    assert [job.id for job in jobs.list_page("ana", 9)[0]] == ["job-00001"]
    with pytest.raises(DamagedJobError):
        jobs.read("ana", "job-00000")
    assert jobs.delete_expired(NOW + timedelta(days=10), timedelta(days=5)) == 1, "the other one"
    for entry in list(store.list("jobs/log/ana/job-00000/")):
        store.delete(entry.key)
    worker.run_round()
    assert not list(jobs.list_open())


def test_a_claimed_job_whose_events_get_damaged_is_dropped() -> None:
    store, clock, slow = MemoryStore(), Clock(), Slow(rounds=9)
    worker = start_worker(store, clock, slow)
    for number in range(2):
        JobStore(store).create("ana", f"job-0000{number}", ASK, now=NOW)
    worker.run_round()
    store.put("jobs/log/ana/job-00000/000001.json", b"{}")
    worker.run_round()
    assert slow.dropped == ["job-00000"]
    assert set(worker.claimed_jobs) == {("ana", "job-00001")}


def test_a_job_whose_begin_meets_an_outage_is_handed_back_and_made_later() -> None:
    store, clock = MemoryStore(), Clock()
    maker = Slow(rounds=1, errors={"job-00001": [StoreError("the store is away")] * 30})
    JobStore(store).create("ana", "job-00001", ASK, now=NOW)
    worker = start_worker(store, clock, maker)
    for _ in range(30):
        with pytest.raises(StoreError):
            worker.run_round()
        clock.now += timedelta(minutes=1)
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert (job.state, job.tries) == ("queued", 0)
    worker.run_round()
    worker.run_round()
    job = JobStore(store).read("ana", "job-00001")
    assert job is not None
    assert job.state == "done"


def test_init_audio_is_read_to_make_a_job_and_not_to_look_at_it() -> None:
    """A list of a hundred jobs of 8 MB each would take a gigabyte, and so would what is remembered of them."""
    store = MemoryStore()
    jobs, large = JobStore(store), ASK.model_copy(update={"init_audio": "A" * 1_000_000})
    for number in range(3):
        jobs.create("ana", f"job-{number:05d}", large, now=NOW)
    seen = [*jobs.list_page("ana", 10)[0], jobs.look_up("ana", "job-00001"), jobs.read_recent("ana", "job-00001")]
    assert [job.request.init_audio for job in seen if job] == [""] * 5
    whole = jobs.read("ana", "job-00001")
    assert whole is not None
    assert whole.request.init_audio == large.init_audio
    claimed = jobs.append(whole, JobEvent(kind="claimed", worker="one", at=NOW))
    assert claimed.request.init_audio == large.init_audio
    again = jobs.look_up("ana", "job-00001")
    assert again is not None
    assert (again.state, again.length, again.request.init_audio) == ("running", 2, "")
    assert jobs.create("ana", "job-00001", large).length == 2, "the same request is the same job"


def test_events_that_were_read_are_not_read_again_unless_the_job_is_another() -> None:
    store = MemoryStore()
    jobs, reads, get = JobStore(store), list[str](), store.get
    store.get = lambda key: reads.append(key) or get(key)  # type: ignore[method-assign, func-returns-value]
    jobs.create("ana", "job-00001", ASK, now=NOW)
    for _ in range(3):
        assert jobs.look_up("ana", "job-00001") is not None
    assert len(reads) == 1
    jobs.end("ana", "job-00001", JobEvent(kind="cancelled", at=NOW))
    for entry in list(store.list("jobs/log/ana/job-00001/")):
        store.delete(entry.key)
    assert jobs.look_up("ana", "job-00001") is None
    jobs.create("ana", "job-00001", ASK.model_copy(update={"prompt": "another"}), now=NOW)
    found = jobs.look_up("ana", "job-00001")
    assert found is not None
    assert found.request.prompt == "another"


def test_members_jobs_are_listed_newest_first_page_by_page() -> None:
    book = JobStore(MemoryStore())
    for number in range(5):
        book.create("ana", f"job-{number:05d}", ASK, now=NOW + timedelta(seconds=number))
    book.create("ben", "job-of-ben", ASK, now=NOW)
    page, mark = book.list_page("ana", 3)
    assert [job.id[-1] for job in page] == ["4", "3", "2"]
    rest, end = book.list_page("ana", 3, mark)
    assert [job.id[-1] for job in rest] == ["1", "0"]
    assert end == ""


def test_ended_jobs_leave_when_their_time_is_over_and_waiting_ones_stay() -> None:
    store = MemoryStore()
    book = JobStore(store)
    old, _, young = (book.create("ana", f"job-{n:05d}", ASK, now=NOW + timedelta(days=d)) for n, d in enumerate((0, 0, 9)))
    book.end("ana", old.id, JobEvent(kind="cancelled"))
    book.end("ana", young.id, JobEvent(kind="cancelled"))
    assert book.delete_expired(NOW + timedelta(days=10), timedelta(days=5)) == 1
    assert [job.id for job in book.list_page("ana", 9)[0]] == ["job-00002", "job-00001"]


def test_sounds_leave_when_their_time_is_over() -> None:
    store = MemoryStore()
    store.put("sounds/ab/abcd.wav", b"RIFF")
    store.put("manifests/generations/abcd.json", b"{}")
    JobStore(store).delete_expired(store.written, timedelta(days=1))
    assert store.exists("sounds/ab/abcd.wav")
    JobStore(store).delete_expired(store.written + timedelta(days=2), timedelta(days=1))
    assert not store.exists("sounds/ab/abcd.wav")
    assert store.exists("manifests/generations/abcd.json")


def test_everybodys_first_comes_before_anybodys_second() -> None:
    found = interleave_members([("1", "ana", "a1"), ("2", "ana", "a2"), ("3", "ana", "a3"), ("4", "ben", "b1")])
    assert [id for _, _, id in found] == ["a1", "b1", "a2", "a3"]
