"""A withdrawal reaches what runs: the release, the adapters, the requests that are made, and the jobs that wait."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import StoreError
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.store.port import compute_digest
from services.generation.engine.work import LoadedRelease
from tests.fakes.described_store import agreement
from tests.fakes.fake_models import FakeModels, a_release
from tests.fakes.in_process_service import ASK, InProcessService, until
from tests.fakes.memory_store import MemoryStore
from tests.fakes.seeded_store import tone

RARELY: dict[str, Any] = {"consent_s": 1000, "ledger_s": 0.02}  # so that only an event can have told the service
JOB = "/v1/jobs/job-0001"


def withdraw(bench: InProcessService, *versions: str) -> None:
    bench.models.tainted |= set(versions)
    bench.models.events += 1


def begin(bench: InProcessService, pool: ThreadPoolExecutor, **fields: Any) -> Future[Any]:
    """A request whose sound is being made, and does not get on before the gate opens."""
    before = len(bench.tones.batches)
    bench.tones.gate.clear()
    asked = pool.submit(bench.post, **fields)
    until(lambda: len(bench.tones.batches) > before)
    return asked


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(4) as made:
        yield made


def test_between_events_consent_is_not_asked_and_an_event_stops_the_release(tmp_path: Path) -> None:
    with InProcessService(tmp_path, **RARELY) as bench:
        until(lambda: bench.watcher._consent._seen == 0)
        asked = bench.models.questions
        time.sleep(0.3)
        assert bench.models.questions == asked
        withdraw(bench, "1")
        until(lambda: bench.post().status_code == 503)
        problem = bench.post()
        assert (problem.status_code, problem.json()["code"]) == (503, "withdrawn")
        assert "version 1 may not be played any more: ana has not agreed to generate" in problem.json()["detail"]
        assert "there is no other that may be" in problem.json()["detail"]
        assert "Retry-After" in problem.headers
        assert bench.client.get("/livez").status_code == 200
        assert bench.client.get("/v1/health").json()["reason_class"] == "withdrawn"


def test_what_is_being_made_goes_on_with_the_newest_clean_release(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    models = FakeModels(at="3")
    models.older = ["2", "1"]
    with InProcessService(tmp_path, models, **RARELY) as bench:
        asked = begin(bench, pool, steps=50)
        steps = bench.tones.steps
        withdraw(bench, "3", "2")
        until(lambda: bench.loaded_releases.withdrawn)
        bench.tones.gate.set()
        answer = asked.result(20)
        assert (answer.status_code, answer.headers["x-audio-tune-release"]) == (200, "patch-bay 1")
        assert bench.client.get(f"/v1/sounds/{answer.headers['x-audio-tune-sound']}").status_code == 200
        assert bench.tones.steps - steps < 50 + 8, "the withdrawn release made no further step"
        assert bench.post(release="patch-bay").headers["x-audio-tune-release"] == "patch-bay 1"
        health = bench.client.get("/v1/health").json()
        assert health["ready"]
        assert "version 1 is played instead" in health["reason"]


def test_a_request_waits_while_the_clean_release_is_loaded(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    loading = threading.Event()

    class Slow(FakeModels):
        def load(self, name: str, version: str) -> LoadedRelease:
            if version == "1":
                loading.wait(20)
            return super().load(name, version)

    models = Slow(at="2")
    models.older, models.others = ["1"], {"other": "5"}
    with InProcessService(tmp_path, models, **RARELY) as bench:
        until(lambda: len(bench.loaded_releases.by_name) == 2)
        withdraw(bench, "2")
        until(lambda: bench.loaded_releases.is_sought())
        asked = pool.submit(bench.post)
        bench.client.put(JOB, json={**ASK, "seed": 2})
        assert bench.post(release="other").headers["x-audio-tune-release"] == "other 5"
        time.sleep(0.3)
        assert not asked.done(), "another release does not stand in for it"
        loading.set()
        assert asked.result(20).headers["x-audio-tune-release"] == "patch-bay 1"
        until(lambda: bench.client.get(JOB).json()["state"] == "done")
        assert bench.client.get(JOB).json()["sounds"][0]["release"] == "patch-bay"


def test_other_releases_are_made_on_without_a_fault(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    models = FakeModels(at="2")
    models.others = {"other": "5"}
    with InProcessService(tmp_path, models, **RARELY) as bench:
        until(lambda: len(bench.loaded_releases.by_name) == 2)
        other = begin(bench, pool, release="other", steps=50)
        withdraw(bench, "2")
        until(lambda: bench.loaded_releases.withdrawn)
        bench.tones.gate.set()
        assert other.result(20).status_code == 200
        assert len(bench.tones.batches) == 1, "it was not begun again"
        assert bench.post().headers["x-audio-tune-release"] == "other 5"
        until(lambda: bench.post(release="patch-bay").status_code == 503)


@pytest.mark.parametrize("at", ["loading", "start"])
def test_a_version_that_is_withdrawn_while_it_is_loaded_is_not_served(tmp_path: Path, at: str) -> None:
    """The event is seen before the version is in memory, so it is asked again then."""

    class Racing(FakeModels):
        racing = at == "start"

        def load(self, name: str, version: str) -> LoadedRelease:
            loaded = super().load(name, version)
            if self.racing and version == "2":
                self.tainted.add("2")
                self.events += 1
                until(lambda: bench.watcher._consent._seen == self.events)
            return loaded

    models = Racing(at="2" if at == "start" else "1")
    models.older = ["1"]
    bench = InProcessService(tmp_path, models, **RARELY)
    if at == "loading":
        bench.loaded()
        models.racing, models.at = True, "2"
        bench.watcher.check_now()
    until(lambda: "version 2 may not" in bench.loaded_releases.reason and bench.loaded_releases.default_release)
    assert bench.loaded().release.version == "1"
    bench.stop()


def test_a_service_that_starts_takes_the_clean_release_though_the_alias_points_at_another(tmp_path: Path) -> None:
    models = FakeModels(at="3")
    models.older, models.tainted = ["2"], {"3"}
    with InProcessService(tmp_path, models, **RARELY) as bench:
        assert bench.loaded().release.version == "2"
        models.at = "4"
        bench.watcher.check_now()
        until(lambda: bench.loaded().release.version == "4")
        assert bench.client.get("/v1/health").json()["reason"] == ""


def test_a_clean_release_that_cannot_be_loaded_is_named_with_its_fault(tmp_path: Path) -> None:
    models = FakeModels(at="2")
    models.older, models.broken = ["1"], {"1"}
    with InProcessService(tmp_path, models, **RARELY) as bench:
        withdraw(bench, "2")
        until(lambda: bench.loaded_releases.trouble.get("patch-bay"))
        problem = bench.post()
        assert (problem.status_code, problem.json()["code"]) == (503, "withdrawn")
        assert "version 2 may not be played any more" in problem.json()["detail"]
        assert "the weights do not fit" in problem.json()["detail"]
        models.broken.clear()
        until(lambda: bench.post().status_code == 200)


def test_consent_that_is_given_again_brings_the_release_back(tmp_path: Path) -> None:
    with InProcessService(tmp_path, **RARELY) as bench:
        withdraw(bench, "1")
        until(lambda: bench.loaded_releases.withdrawn)
        bench.models.tainted.clear()
        until(lambda: bench.post().status_code == 200)
        assert bench.client.get("/v1/health").json()["reason"] == ""


class TestAdapters:
    def ask(self, bench: InProcessService, name: str = "grit") -> Any:
        return bench.post(adapters=[{"release": name}])

    def test_a_withdrawn_adapter_is_refused_at_once_and_the_base_goes_on(self, tmp_path: Path) -> None:
        with InProcessService(tmp_path, **RARELY) as bench:
            until(lambda: bench.watcher._consent._seen == 0)
            assert self.ask(bench).status_code == 200
            bench.models.refused.add("bo")
            assert self.ask(bench).status_code == 200, "without news nobody asks"
            bench.models.events += 1
            until(lambda: self.ask(bench).status_code == 403)
            assert self.ask(bench).json()["code"] == "consent"
            assert bench.post().status_code == 200
            bench.models.refused.clear()
            bench.models.events += 1
            until(lambda: self.ask(bench).status_code == 200)

    def test_a_sound_that_is_being_made_with_it_ends(self, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
        with InProcessService(tmp_path, **RARELY) as bench:
            tainted = begin(bench, pool, adapters=[{"release": "grit"}], steps=50)
            bench.models.refused.add("bo")
            bench.models.events += 1
            until(lambda: bench.engine.refusals.adapters)
            bench.tones.gate.set()
            refused = tainted.result(20)
            assert (refused.status_code, refused.json()["code"]) == (403, "consent")
            assert bench.post().status_code == 200

    def test_an_adapter_is_asked_again_where_the_store_was_away_at_the_news(self, tmp_path: Path) -> None:
        class Away(FakeModels):
            away_for_adapters = False

            def require_consent(self, release: Any) -> None:
                if self.away_for_adapters and release.weights.adapter:
                    raise StoreError("the store is away")
                super().require_consent(release)

        models = Away()
        with InProcessService(tmp_path, models, **RARELY) as bench:
            assert self.ask(bench).status_code == 200
            models.away_for_adapters = True
            models.refused.add("bo")
            models.events += 1
            time.sleep(0.2)
            assert bench.watcher._consent._seen != 1
            assert self.ask(bench).status_code == 200, "within the grace"
            models.away_for_adapters = False
            until(lambda: self.ask(bench).status_code == 403)


class TestJobs:
    def state(self, bench: InProcessService, job: str = JOB) -> Any:
        return bench.client.get(job).json()

    def hold(self, bench: InProcessService, pool: ThreadPoolExecutor) -> Future[Any]:
        """Keeps the engine busy, so that jobs wait behind it."""
        return begin(bench, pool, prompt="long", steps=100)

    def test_who_asked_for_the_champion_gets_the_clean_release(self, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
        models = FakeModels(at="2")
        models.older = ["1"]
        with InProcessService(tmp_path, models, **RARELY) as bench:
            held = self.hold(bench, pool)
            bench.client.put(JOB, json={**ASK, "seed": 2})
            until(lambda: bench.engine.queue_length)
            withdraw(bench, "2")
            until(lambda: bench.loaded_releases.withdrawn)
            bench.tones.gate.set()
            until(lambda: self.state(bench)["state"] == "done")
            assert self.state(bench)["sounds"][0]["version"] == "1"
            assert held.result(20).status_code == 200

    def test_without_a_clean_release_a_job_that_names_it_is_refused_and_others_wait(
        self, tmp_path: Path, pool: ThreadPoolExecutor
    ) -> None:
        with InProcessService(tmp_path, **RARELY) as bench:
            self.hold(bench, pool)
            named = "/v1/jobs/job-0002"
            bench.client.put(JOB, json={**ASK, "seed": 2})
            bench.client.put(named, json={**ASK, "seed": 3, "release": "patch-bay"})
            until(lambda: bench.engine.queue_length == 2)
            withdraw(bench, "1")
            until(lambda: bench.loaded_releases.withdrawn)
            bench.tones.gate.set()
            until(lambda: self.state(bench, named)["state"] == "failed")
            problem = self.state(bench, named)["problem"]
            assert problem["code"] == "withdrawn"
            assert "ana has not agreed to generate" in problem["detail"]
            assert self.state(bench)["state"] == "queued"
            assert len(bench.tones.batches) == 1
            bench.models.at = "2"
            bench.watcher.check_now()
            until(lambda: self.state(bench)["state"] == "done")
            assert self.state(bench)["sounds"][0]["version"] == "2"

    @pytest.mark.parametrize("waits", ["in the store", "in the engine", "at work"])
    def test_a_job_of_a_member_who_left_is_not_made(self, tmp_path: Path, pool: ThreadPoolExecutor, waits: str) -> None:
        store = MemoryStore()
        publish_agreement(store, agreement())
        bench = InProcessService(store, members=True, **RARELY)
        bench.loaded()
        if waits != "at work":
            bench.tones.gate.clear()
            bench.engine.submit(bench.loaded(), [_request(steps=100)], "bob")
            until(lambda: bench.tones.batches)
        if waits == "in the store":
            bench.worker.stop_claiming()
        else:
            bench.tones.gate.clear()
        made = bench.context.job_store.create("ana", "job-0001", _asked(steps=50))
        if waits == "in the engine":
            until(lambda: bench.engine.queue_length)
        if waits == "at work":
            until(lambda: bench.tones.batches)
        gone = [one.model_copy(update={"left": one.id == "ana"}) for one in agreement().members]
        publish_agreement(store, agreement().model_copy(update={"version": 2, "members": tuple(gone)}))
        bench.models.left.add("ana")
        bench.models.events += 1
        if waits == "in the store":
            bench.worker._closing = False
        else:
            until(lambda: bench.engine.refusals.members)
        before = len(bench.tones.batches)
        bench.tones.gate.set()
        until(lambda: (bench.context.job_store.read("ana", made.id) or made).state == "failed")
        ended = bench.context.job_store.read("ana", made.id)
        assert ended is not None
        assert ended.problem is not None
        assert (ended.problem["code"], ended.problem["status"]) == ("member-left", 403)
        assert "ana has left the group" in ended.problem["detail"]
        assert len(bench.tones.batches) == before
        bench.stop()


class TestSounds:
    """What was made before keeps its record and is marked; it is no sound to start from any more."""

    def prepare(self, store: MemoryStore) -> InProcessService:
        publish_agreement(store, agreement())
        self.say(store, "f" * 64, "store", "train", "release", "generate")
        a_release("1").save(store)
        bench = InProcessService(store, **RARELY)
        bench.loaded()
        return bench

    def say(self, store: MemoryStore, recording: str, *uses: str) -> None:
        facts = {"recording": recording, "contributor": "ana", "uses": uses, "basis": "x", "agreement": "0" * 64}
        record_consent(store, Consent.model_validate(facts))

    def test_a_kept_sound_is_marked_when_its_release_is_withdrawn(self) -> None:
        store = MemoryStore()
        bench = self.prepare(store)
        made = bench.post().headers["x-audio-tune-sound"]
        path = f"/v1/sounds/{made}"
        assert "x-audio-tune-withdrawn" not in bench.client.get(path).headers
        self.say(store, "f" * 64, "store", "train", "release")
        marked = bench.client.get(path)
        assert (marked.status_code, marked.headers["x-audio-tune-withdrawn"]) == (200, "true")
        assert bench.client.head(path).headers["x-audio-tune-withdrawn"] == "true"
        again = bench.post(init_sound=made)
        assert (again.status_code, again.json()["code"]) == (403, "consent")
        assert again.json()["errors"][0]["field"] == "init_sound"
        assert "the release it was made with was withdrawn: ana has not agreed to generate" in again.json()["detail"]
        bench.stop()

    def test_a_recording_that_was_taken_back_is_no_sound_to_start_from(self) -> None:
        store = MemoryStore()
        bench = self.prepare(store)
        data = tone(220, 0.5).to_bytes("WAV")
        recording, start = compute_digest(data), {"init_audio": base64.b64encode(data).decode()}
        assert bench.post(**start).status_code == 200, "a sound of nobody's recordings"
        self.say(store, recording, "store", "generate")
        from_it = bench.post(**start, seed=8)
        assert from_it.status_code == 200
        self.say(store, recording)
        refused = bench.post(**start)
        assert (refused.status_code, refused.json()["code"]) == (403, "consent")
        assert "ana has not agreed to generate" in refused.json()["detail"]
        derived = bench.post(init_sound=from_it.headers["x-audio-tune-sound"])
        assert (derived.status_code, derived.json()["code"]) == (403, "consent")
        bench.client.put(JOB, json={**ASK, **start})
        until(lambda: bench.client.get(JOB).json()["state"] == "failed")
        assert bench.client.get(JOB).json()["problem"]["code"] == "consent"
        bench.stop()


def test_the_record_names_the_version_that_made_the_sound(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Memory holds one version at a time: what waited is made by the one that took the other's place."""
    with InProcessService(tmp_path, batch=1) as bench:
        bench.models.roomy = False
        first = begin(bench, pool, seed=1)
        second = pool.submit(bench.post, seed=2)
        until(lambda: bench.engine.queue_length == 1)
        bench.models.at = "2"
        time.sleep(0.2)
        bench.tones.gate.set()
        assert first.result(20).headers["x-audio-tune-release"] == "patch-bay 1"
        name = second.result(20).headers["x-audio-tune-release"]
        made_by = {"patch-bay 1": "1", "patch-bay 2": "2"}[name]
        assert second.result().headers["x-audio-tune-digest"] == a_release(made_by).digest


def _request(**fields: Any) -> Any:
    from audiotune.stable_audio.sample import SamplingRequest

    return SamplingRequest("long", seconds=0.5, **fields)


def _asked(**fields: Any) -> Any:
    from audiotune.domain.generation import GenerationRequest

    return GenerationRequest.model_validate({**ASK, **fields})
