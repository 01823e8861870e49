"""Store or registry away: nothing is lost, health says so, and all goes on by itself when they are back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import StoreError
from services.generation.engine import release_watcher as watcher_module
from services.generation.engine.work import LoadedRelease
from services.generation.jobs import worker as worker_module
from services.generation.jobs.events import GenerationJob
from services.generation.jobs.webhooks import WebhookSender
from tests.fakes.fake_models import FakeModels, a_release
from tests.fakes.in_process_service import ASK, InProcessService, until
from tests.fakes.memory_store import MemoryStore

JOB = "/v1/jobs/job-0001"


def test_a_job_made_while_the_store_is_away_is_kept_when_it_is_back() -> None:
    store = MemoryStore()
    bench = InProcessService(store)
    bench.loaded()
    bench.tones.gate.clear()
    bench.client.put(JOB, json=ASK)
    until(lambda: bench.tones.batches)
    store.away = True
    bench.tones.gate.set()
    until(lambda: bench.engine.is_idle and bench.worker.trouble)
    reason = bench.client.get("/v1/health").json()["reason"]
    assert "jobs: the store does not answer" in reason
    assert bench.client.get(JOB).json()["code"] == "away"
    store.away = False
    until(lambda: bench.client.get(JOB).json().get("state") == "done")
    assert len(bench.tones.batches) == 1, "it was made once"
    bench.stop()


def test_health_tells_of_a_store_and_a_registry_that_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_SILENT_S", 0.1)
    monkeypatch.setattr(watcher_module, "_SILENT_S", 0.1)
    hangs, bench = threading.Event(), InProcessService(tmp_path, lease_s=0.2)
    bench.loaded()
    bench.worker._job_store.write_heartbeat = lambda *_: hangs.wait(20)  # type: ignore[method-assign,assignment]
    plain, bench.models.wanted_versions = bench.models.wanted_versions, lambda: (hangs.wait(20), plain())[1]  # type: ignore[method-assign]
    reasons = ("registry and store have not answered", "jobs: the store has not answered")
    until(lambda: all(reason in bench.client.get("/v1/health").json()["reason"] for reason in reasons))
    assert bench.client.get("/v1/health").status_code == 200
    assert bench.post().status_code == 200
    hangs.set()
    until(lambda: not bench.client.get("/v1/health").json()["reason"])
    bench.stop()


def test_a_version_that_could_not_be_fetched_is_no_broken_one(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path)
    bench.loaded()
    plain, away = bench.models.load, StoreError("the store does not answer")

    def load(name: str, version: str) -> LoadedRelease:
        raise away

    bench.models.load, bench.models.at = load, "2"  # type: ignore[method-assign]
    until(lambda: "does not answer" in bench.loaded_releases.reason)
    assert bench.post().headers["x-audio-tune-release"] == "patch-bay 1"
    bench.models.load = plain  # type: ignore[method-assign]
    until(lambda: bench.loaded().release.version == "2" and not bench.loaded_releases.reason)
    assert bench.watcher.swaps == {"done": 2, "broken": 0}
    bench.stop()


def test_bugs_in_the_loops_are_logged_with_their_traceback_and_end_no_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> dict[str, str | None]:
        raise ZeroDivisionError("a bug of the registry's client")

    bench = InProcessService(tmp_path)
    bench.loaded()
    plain, bench.models.wanted_versions = bench.models.wanted_versions, fail  # type: ignore[method-assign]
    until(lambda: "ZeroDivisionError: a bug" in bench.loaded_releases.reason)
    assert "Traceback" in caplog.text
    assert "a bug of the registry's client" in caplog.text
    bench.models.wanted_versions = plain  # type: ignore[method-assign]
    until(lambda: not bench.loaded_releases.reason)
    bench.stop()


def test_a_bug_in_the_webhooks_is_logged_with_its_traceback_and_ends_no_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: GenerationJob) -> dict[str, Any]:
        raise ZeroDivisionError("a bug of the description")

    bench = InProcessService(tmp_path, webhook_secret="x", webhook_hosts="127.0.0.1:9")
    bench.loaded()
    sender = WebhookSender(bench.context.job_store, bench.settings, fail).start()
    bench.client.put(JOB, params={"webhook": "http://127.0.0.1:9/"}, json=ASK)
    until(lambda: caplog.text.count("a bug of the description") >= 2)
    assert "Traceback" in caplog.text
    sender.stop()
    bench.stop()


def test_a_bug_while_the_last_good_release_is_tried_ends_no_loop(tmp_path: Path) -> None:
    models = FakeModels()
    models.kept, models.away = [a_release()], True
    bench = InProcessService(tmp_path, models)
    bench.tones.silent = True
    until(lambda: "silent" in bench.loaded_releases.reason or bench.loaded_releases.default_release)
    bench.tones.silent, models.away = False, False
    bench.loaded()
    until(lambda: not bench.loaded_releases.reason)
    bench.stop()
