"""The list of releases: the registry is asked seldom however often it is read, and a moved alias is seen within seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from audiotune.domain.release import Release
from audiotune.errors import LineageError, RegistryError
from services.generation.engine.release_catalogue import FRESH_S, CachedAnswer, ReleaseCatalogue
from services.generation.http.routes_reading import build_router
from tests.fakes.clock import Clock
from tests.fakes.fake_models import an_adapter
from tests.fakes.in_process_service import InProcessService


class FakeRegistry:
    """Counts its questions."""

    def __init__(self) -> None:
        self.questions, self.champion, self.away = 0, "1", False
        self.versions = [an_adapter("patch-bay", version=version) for version in ("2", "1")]

    def _asked(self) -> None:
        self.questions += 1
        if self.away:
            raise RegistryError("the registry is away")

    def list_release_names(self) -> list[str]:
        self._asked()
        return ["patch-bay"]

    def list_aliases(self, name: str) -> dict[str, str]:
        self._asked()
        return {"champion": self.champion, "candidate": "2"}

    def read_release(self, name: str, version: str) -> Release:
        return next(release for release in self.versions if (release.name, release.version) == (name, version))

    def find_release(self, name: str, version: str) -> Release | None:
        return next((one for one in self.versions if (one.name, one.version) == (name, version)), None)

    def list_releases(self, name: str) -> list[Release]:
        self._asked()
        return [release for release in self.versions if release.name == name]


def believe(release: Release) -> None:
    """Every lineage is true."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InProcessService]:
    with InProcessService(tmp_path) as made:
        yield made


def test_the_registry_is_asked_once_however_many_ask_and_again_when_it_is_time(bench: InProcessService) -> None:
    registry, clock = FakeRegistry(), Clock()
    listing = ReleaseCatalogue(bench.engine.loaded_releases, bench.adapters, registry, believe, clock)
    first = listing.list_releases(), listing.list_adapters()
    once = registry.questions
    assert [row["aliases"] for row in first[0]] == [["candidate"], ["champion"]]
    assert [row["serving"] for row in first[0]] == [False, True]
    registry.champion = "2"
    clock.now = FRESH_S - 0.01
    assert (listing.list_releases(), listing.list_adapters()) == first
    assert registry.questions == once
    clock.now = FRESH_S
    assert [row["aliases"] for row in listing.list_releases()] == [["candidate", "champion"], []]


def test_a_lineage_that_is_not_true_is_told_and_shown_to_nobody(bench: InProcessService) -> None:
    def doubt(release: Release) -> None:
        if release.version == "2":
            raise LineageError("the registry names another lineage")

    listing = ReleaseCatalogue(bench.engine.loaded_releases, bench.adapters, FakeRegistry(), doubt, Clock())
    assert [(row["gate"], row["contributors"]) for row in listing.list_releases()] == [
        ("the registry names another lineage", ()),
        ("passed", ("bo",)),
    ]


def test_what_serves_is_looked_at_each_time(bench: InProcessService) -> None:
    listing = ReleaseCatalogue(bench.engine.loaded_releases, bench.adapters, FakeRegistry(), believe, Clock())
    assert [row["serving"] for row in listing.list_releases()] == [False, True]
    bench.models.at = "2"
    until = time.monotonic() + 20
    while [row["serving"] for row in listing.list_releases()] != [True, False]:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_who_says_that_an_alias_has_moved_is_believed_at_once(bench: InProcessService) -> None:
    registry, app = FakeRegistry(), FastAPI()
    app.include_router(build_router(bench.context, registry))
    client = TestClient(app)
    before = client.get("/v1/releases").json()["releases"]
    registry.champion = "2"
    assert client.post("/v1/releases/look").status_code == 202
    after = client.get("/v1/releases").json()["releases"]
    assert [row["aliases"] for row in before] == [["candidate"], ["champion"]]
    assert [row["aliases"] for row in after] == [["candidate", "champion"], []]


def test_a_registry_that_is_away_is_reported_and_asked_again() -> None:
    registry, clock = FakeRegistry(), Clock()
    registry.away = True
    names = CachedAnswer(registry.list_release_names, FRESH_S, clock)
    for _ in range(2):
        with pytest.raises(RegistryError):
            names()
    registry.away = False
    assert names() == ["patch-bay"]
    assert registry.questions == 3


def test_a_crowd_shares_one_question() -> None:
    going, requests = threading.Event(), []

    def ask() -> str:
        requests.append("asked")
        assert going.wait(20)
        return "patch-bay"

    names = CachedAnswer(ask, FRESH_S, Clock())
    with ThreadPoolExecutor(8) as crowd:
        asking = [crowd.submit(names) for _ in range(8)]
        going.set()
        assert [each.result(20) for each in asking] == ["patch-bay"] * 8
    assert requests == ["asked"]
