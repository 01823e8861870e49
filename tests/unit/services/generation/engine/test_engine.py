"""The engine and what follows the registry: batches, who leaves, memory, swaps, several releases, a registry that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from audiotune.stable_audio.sample import SamplingRequest
from services.generation.engine.work import EngineWork
from services.generation.errors import BusyError, DeadlineError, MemoryFullError
from tests.fakes.fake_models import FakeModels
from tests.fakes.in_process_service import InProcessService, until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InProcessService]:
    made = InProcessService(tmp_path, batch=4, batch_s=100.0)
    made.loaded()
    yield made
    made.stop()


def asked(seed: int, **fields: Any) -> SamplingRequest:
    return SamplingRequest("a drone", **{"seconds": 0.5, "steps": 3, "seed": seed, **fields})


def held(bench: InProcessService) -> EngineWork:
    """Work that keeps the engine busy until the gate is opened; of one step, so that nothing goes between."""
    bench.tones.gate.clear()
    work = bench.engine.submit(bench.loaded(), [asked(99, seconds=3.0, steps=1)], "holder")
    until(lambda: bench.tones.batches)
    return work


def test_alike_requests_of_several_members_run_together_others_apart(bench: InProcessService) -> None:
    held(bench)
    loaded = bench.loaded()
    works = [bench.engine.submit(loaded, [asked(n)], member) for n, member in enumerate("abab")]
    works.append(bench.engine.submit(loaded, [asked(4, steps=5)], "a"))
    works.append(bench.engine.submit(loaded, [asked(5, guidance=1.0)], "b"))
    bench.tones.gate.set()
    for work in works:
        work.result.result(20)
    together = [sorted(batch) for batch in bench.tones.batches[1:]]
    assert [0, 1, 2, 3] in together
    assert [4] in together
    assert [5] in together


def test_shorter_sounds_of_others_go_between_the_steps_of_long_work(bench: InProcessService) -> None:
    bench.tones.gate.clear()
    long = bench.engine.submit(bench.loaded(), [asked(99, seconds=3.0, steps=100)], "flood")
    until(lambda: bench.tones.batches)
    late = bench.engine.submit(bench.loaded(), [asked(1)], "late", 0.01)
    threading.Event().wait(0.05)
    light = [bench.engine.submit(bench.loaded(), [asked(n)], "light") for n in (2, 3)]
    more = bench.engine.submit(bench.loaded(), [asked(98, seconds=3.0, steps=100)], "flood")
    bench.tones.gate.set()
    assert all(work.result.result(20) for work in (*light, long, more))
    assert bench.tones.batches == [(99,), (2, 3), (98,)], "alike ones together, before the flood's next"
    assert isinstance(late.result.exception(20), DeadlineError)


def test_variations_come_back_in_their_order(bench: InProcessService) -> None:
    sounds = bench.engine.submit(bench.loaded(), [asked(n) for n in (5, 1, 3)]).result.result(20)
    again = [bench.engine.submit(bench.loaded(), [asked(n)]).result.result(20)[0] for n in (5, 1, 3)]
    assert [a.data.tobytes() for a in sounds] == [b.data.tobytes() for b in again]


def test_who_leaves_frees_the_place_and_is_not_computed_further(bench: InProcessService) -> None:
    running = held(bench)
    waiting = bench.engine.submit(bench.loaded(), [asked(1)])
    bench.engine.cancel(waiting)
    assert bench.engine.queue_length == 0
    before = bench.tones.steps
    bench.engine.cancel(running)
    bench.tones.gate.set()
    until(lambda: bench.engine.is_idle)
    assert bench.tones.steps <= before + 1
    with pytest.raises(CancelledError):
        running.result.result(1)


def test_one_of_a_batch_leaves_and_the_rest_goes_on(bench: InProcessService) -> None:
    held(bench)
    a, b = (bench.engine.submit(bench.loaded(), [asked(n, steps=9)]) for n in (1, 2))
    bench.tones.gate.set()
    bench.engine.cancel(a)
    assert b.result.result(20)
    assert a.result.cancelled()


def test_a_full_line_refuses_and_tells_when(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, queue=2, member_queue=2, batch=1)
    bench.loaded()
    held(bench)
    bench.engine.submit(bench.loaded(), [asked(1)], "a")
    bench.engine.submit(bench.loaded(), [asked(2)], "b")
    with pytest.raises(BusyError) as busy:
        bench.engine.submit(bench.loaded(), [asked(3)], "c")
    assert busy.value.retry_s >= 1
    answer = bench.post()
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    bench.tones.gate.set()
    until(lambda: bench.engine.is_idle)
    assert bench.post().status_code == 200
    bench.stop()


def test_what_is_late_is_not_made(bench: InProcessService) -> None:
    held(bench)
    late = bench.engine.submit(bench.loaded(), [asked(1)], patience_s=0.02)
    threading.Event().wait(0.05)
    bench.tones.gate.set()
    with pytest.raises(DeadlineError):
        late.result.result(20)
    assert (1,) not in bench.tones.batches


def test_too_large_a_batch_is_split_once(bench: InProcessService) -> None:
    held(bench)
    bench.tones.most = 2
    works = [bench.engine.submit(bench.loaded(), [asked(n)]) for n in range(4)]
    bench.tones.gate.set()
    assert all(work.result.result(20) for work in works)
    assert [len(batch) for batch in bench.tones.batches[1:]] == [4, 2, 2]
    assert bench.context.is_ready


def test_no_memory_for_one_sound_is_an_error_then_not_ready_until_it_works(bench: InProcessService) -> None:
    bench.tones.most = 0
    with pytest.raises(MemoryFullError):
        bench.engine.submit(bench.loaded(), [asked(1)]).result.result(20)
    answer = bench.client.get("/v1/health")
    assert answer.status_code == 503
    assert "memory" in answer.json()["reason"]
    problem = bench.post()
    assert problem.json()["code"] == "out-of-memory"
    bench.tones.most = 9
    until(lambda: bench.context.is_ready)


def test_a_bug_in_a_batch_is_told_to_all_and_ends_nothing(bench: InProcessService) -> None:
    answer = bench.post(prompt="a bug")
    assert (answer.status_code, answer.json()["code"]) == (500, "bug")
    assert "ZeroDivision" not in answer.text
    assert bench.post().status_code == 200


def test_a_swap_lets_begun_work_end_on_the_old_version(bench: InProcessService) -> None:
    work = held(bench)
    bench.models.at = "2"
    until(lambda: bench.loaded().release.version == "2")
    assert work.loaded.release.version == "1"
    bench.tones.gate.set()
    assert work.result.result(20)
    assert bench.post().headers["x-audio-tune-release"] == "patch-bay 2"


def test_without_room_for_two_requests_wait_and_none_fails(bench: InProcessService) -> None:
    bench.models.roomy = False
    old = bench.loaded()
    held(bench)
    waiting = bench.engine.submit(old, [asked(1)])
    bench.models.at = "2"
    bench.tones.gate.set()
    until(lambda: bench.loaded().release.version == "2")
    assert old.model is None
    assert waiting.result.result(20)
    late = bench.engine.submit(bench.loaded(), [asked(2)])
    assert late.result.result(20)


def test_a_broken_version_gives_the_place_back_to_the_old_one(bench: InProcessService) -> None:
    bench.models.roomy, bench.models.broken = False, {"2"}
    bench.models.at = "2"
    until(lambda: "do not fit" in bench.loaded_releases.reason)
    assert bench.loaded().release.version == "1"
    assert bench.post().status_code == 200
    assert bench.watcher.swaps["broken"] >= 1


def test_several_releases_answer_by_their_names(bench: InProcessService) -> None:
    bench.models.others = {"other": "7"}
    until(lambda: "other" in bench.loaded_releases.by_name)
    assert bench.post(release="other").headers["x-audio-tune-release"] == "other 7"
    assert bench.post().headers["x-audio-tune-release"] == "patch-bay 1"
    answer = bench.post(release="unknown")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-release")
    assert [found["release"] for found in bench.client.get("/v1/health").json()["releases"]] == ["patch-bay", "other"]
    bench.models.others = {}
    until(lambda: "other" not in bench.loaded_releases.by_name)


def test_registry_away_what_serves_goes_on(bench: InProcessService) -> None:
    bench.models.away = True
    until(lambda: "away" in bench.loaded_releases.reason)
    health = bench.client.get("/v1/health")
    assert health.status_code == 200
    assert "away" in health.json()["reason"]
    assert bench.post().status_code == 200
    bench.models.away = False
    until(lambda: not bench.loaded_releases.reason)


def test_registry_away_at_the_start_the_last_good_release_serves(tmp_path: Path) -> None:
    models = FakeModels()
    models.kept, models.away = [models.load("patch-bay", "1").release], True
    bench = InProcessService(tmp_path, models)
    until(lambda: bench.loaded_releases.default_release)
    assert bench.post().status_code == 200
    assert "away" in bench.loaded_releases.reason
    bench.stop()
