"""A whole generation service in this process: the real HTTP API, engine, scheduler and jobs on tones."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.quotas import MemberQuotas
from services.generation.engine.release_watcher import ReleaseWatcher
from services.generation.engine.work import LoadedRelease
from services.generation.http.app import create_app
from services.generation.http.auth import Authenticator
from services.generation.http.context import GenerationContext
from services.generation.http.problems import describe_failure
from services.generation.jobs.engine_maker import EngineMaker
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.worker import JobWorker
from services.generation.settings import GenerationSettings
from tests.fakes.fake_models import FakeModels, Tones
from tests.fakes.layout_store import LayoutStore

URL = "/v1/generations"
ASK: dict[str, Any] = {"prompt": "a drone", "seconds": 0.5, "steps": 3, "seed": 7}


class InProcessService:
    """A service with its fakes and a client. `watcher` and `worker` look every few hundredths of a second."""

    def __init__(self, store: Store | Path, models: FakeModels | None = None, *, members: bool = False, **settings: Any) -> None:
        given = {"poll_s": 0.05, "consent_s": 0.05, "jobs_poll_s": 0.02, **settings}
        self.settings = GenerationSettings(**given)
        self.store = LayoutStore(store) if isinstance(store, Path) else store
        self.models, self.tones = models or FakeModels(), Tones()
        self.loaded_releases = LoadedReleases()
        self.engine = Engine(self.settings, self.loaded_releases, self.tones)
        job_store, self.adapters = JobStore(self.store), AdapterResolver(self.settings, self.models)
        self.watcher = ReleaseWatcher(self.settings, self.models, self.engine, self.tones, self.adapters)
        self.worker = JobWorker(
            job_store,
            EngineMaker(self.engine, self.store, self.adapters),
            lease_s=self.settings.lease_s,
            poll_s=self.settings.jobs_poll_s,
            cancel_s=self.settings.cancel_s,
            describe_failure=describe_failure,
        )
        authenticator, quotas = Authenticator(self.store, members=members), MemberQuotas(self.settings, self.store)
        self.context = GenerationContext(
            self.settings, self.store, self.engine, authenticator, job_store, self.adapters, self.watcher, self.worker, quotas
        )
        self.client = TestClient(create_app(self.context, self.models), raise_server_exceptions=False)
        for part in (self.engine, self.watcher, self.worker):
            part.start()

    def post(self, **fields: Any) -> Any:
        return self.client.post(URL, json={**ASK, **fields})

    def __enter__(self) -> InProcessService:
        self.loaded()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def loaded(self) -> LoadedRelease:
        until(lambda: self.loaded_releases.default_release)
        return self.loaded_releases.get()

    def stop(self) -> None:
        self.tones.gate.set()
        self.watcher.stop()
        self.worker.close()
        self.engine.stop()


def until(true: Callable[[], Any]) -> None:
    """Waits for something that comes true by itself."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
