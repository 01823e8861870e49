"""A release is served while the last yes is fresh: a no stops it at once, and what is neither yes nor no when the grace is over."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from audiotune.domain.release import Release
from audiotune.errors import (
    AudioTuneError,
    ConsentError,
    LedgerError,
    StoreError,
    UnreadableAgreementError,
    UnreadableConsentError,
)
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.engine.work import LoadedRelease
from services.generation.settings import GenerationSettings
from tests.fakes.fake_models import FakeModels, a_loaded, a_release
from tests.fakes.in_process_service import InProcessService, until
from tests.fakes.memory_store import MemoryStore

UNCLEAR = [
    StoreError("the store does not answer"),
    UnreadableAgreementError(
        "the agreement in force cannot be read", where="governance/agreements/000002.json", cure="restore it"
    ),
    UnreadableConsentError("a consent record cannot be read", where="governance/consents/f/ana/1.json", cure="restore it"),
    LedgerError("an event of the ledger cannot be read", where="governance/ledger/0000000002.json", cure="restore it"),
    ZeroDivisionError("a bug"),
]


class Asked(FakeModels):
    """Consent raises `unclear`, whatever it is."""

    unclear: Exception | None = None

    def require_consent(self, release: Release) -> None:
        if self.unclear:
            raise self.unclear
        super().require_consent(release)


def is_ready(bench: InProcessService) -> bool:
    return bool(bench.client.get("/v1/health").json()["ready"])


@pytest.mark.parametrize("unclear", UNCLEAR, ids=lambda e: type(e).__name__)
def test_within_the_grace_a_release_is_served_and_health_says_what_is_not_known(tmp_path: Path, unclear: Exception) -> None:
    models = Asked()
    with InProcessService(tmp_path, models, grace_s=1000) as bench:
        models.unclear = unclear
        until(lambda: "not known whether everybody agrees" in bench.client.get("/v1/health").json()["reason"])
        assert str(unclear) in bench.client.get("/v1/health").json()["reason"]
        assert bench.post().status_code == 200


@pytest.mark.parametrize("unclear", UNCLEAR, ids=lambda e: type(e).__name__)
def test_what_is_no_yes_counts_towards_the_grace(tmp_path: Path, unclear: Exception) -> None:
    models = Asked()
    models.grace_s = 0.2
    with InProcessService(tmp_path, models, grace_s=0.2, poll_s=0.5) as bench:  # the next try to load it gives another reason
        models.unclear = unclear
        until(lambda: not is_ready(bench))
        health = bench.client.get("/v1/health")
        assert health.status_code == 503
        assert "nobody could say" in health.json()["reason"]
        assert str(unclear) in health.json()["reason"]
        refused = bench.post()
        assert (refused.status_code, refused.json()["code"]) == (503, "not-ready")
        time.sleep(0.5)
        assert bench.post().status_code == 503, "the local cache must not bring it back"
        models.unclear = None
        until(lambda: is_ready(bench))
        until(lambda: bench.post().status_code == 200)


@pytest.mark.parametrize("registry", ["away", "silent"])
def test_a_registry_that_is_away_hides_no_withdrawal(tmp_path: Path, registry: str) -> None:
    hangs = threading.Event()
    with InProcessService(tmp_path) as bench:
        if registry == "away":
            bench.models.away = True
        else:
            plain = bench.models.wanted_versions
            bench.models.wanted_versions = lambda: (hangs.wait(20), plain())[1]  # type: ignore[method-assign]
        bench.models.withdrawn = ConsentError("ana has not agreed to generate")
        until(lambda: bench.post().status_code == 503)
        assert "ana has not agreed" in bench.client.get("/v1/health").json()["reason"]
        hangs.set()


def test_what_waits_for_a_withdrawn_release_is_not_made_and_what_is_begun_ends(tmp_path: Path) -> None:
    with InProcessService(tmp_path, batch=1) as bench:
        bench.tones.gate.clear()
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda seed=seed: answers.append(bench.post(seed=seed).status_code)) for seed in (1, 2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: bench.tones.batches and bench.engine.queue_length == 1)
        bench.models.withdrawn = ConsentError("ana has not agreed to generate")
        until(lambda: not is_ready(bench))
        bench.tones.gate.set()
        for thread in threads:
            thread.join()
        assert answers == [503, 503]
        assert len(bench.tones.batches) == 1


def test_a_store_that_falls_silent_after_a_no_brings_nothing_back(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench:
        bench.models.withdrawn = ConsentError("ana has not agreed to generate")
        until(lambda: not is_ready(bench))
        bench.models.away = bench.models.store_away = True
        time.sleep(0.5)
        assert not is_ready(bench)


def test_a_question_that_is_never_answered_stops_the_release(tmp_path: Path) -> None:
    hangs, asked = threading.Event(), threading.Event()

    class Silent(FakeModels):
        silent = False

        def require_consent(self, release: Release) -> None:
            if self.silent:
                asked.set()
                hangs.wait(20)

    models = Silent()
    with InProcessService(tmp_path, models, grace_s=0) as bench:
        models.silent = True
        assert asked.wait(20)
        bench.loaded_releases.fresh_s = 0.5
        until(lambda: bench.post().status_code == 503)
        assert not is_ready(bench)
        models.silent = False
        hangs.set()
        until(lambda: is_ready(bench))


def test_a_bug_while_the_cache_is_asked_ends_no_loop(tmp_path: Path) -> None:
    models = Asked()
    models.kept, models.away, models.unclear = [a_release()], True, ZeroDivisionError("a bug")
    bench = InProcessService(tmp_path, models)
    until(lambda: "ZeroDivisionError" in bench.loaded_releases.reason)
    models.away, models.unclear = False, None
    bench.loaded()
    bench.stop()


class CachedLoader(ReleaseLoader):
    """Opens tones instead of weights; consent is what the test says."""

    answer: AudioTuneError | None = None

    def require_consent(self, release: Release) -> None:
        if self.answer:
            raise self.answer

    def _open_release(self, release: Release) -> LoadedRelease:
        return a_loaded(release.version, release.name)


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CachedLoader:
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    made = CachedLoader(GenerationSettings(release="patch-bay", grace_s=100), MemoryStore())
    made.cache_release(a_release())
    return made


def test_the_cache_is_good_for_as_long_as_the_grace_lasts(loader: CachedLoader) -> None:
    path, loader.answer = loader._cache_path("patch-bay"), StoreError("the store does not answer")
    for age_s in (0, 60):
        os.utime(path, (time.time() - age_s,) * 2)
        assert time.monotonic() - loader.load_cached()[0].agreed_at == pytest.approx(age_s, abs=5)
    for age_s in (120, -3600):
        os.utime(path, (time.time() - age_s,) * 2)
        with pytest.raises(StoreError):
            loader.load_cached()
    loader.answer = None  # the store says yes, only the registry is away
    assert time.monotonic() - loader.load_cached()[0].agreed_at == pytest.approx(0, abs=5)


def test_a_no_empties_the_cache(loader: CachedLoader) -> None:
    loader.answer = ConsentError("ana has not agreed to generate")
    with pytest.raises(ConsentError):
        loader.load_cached()
    loader.answer = StoreError("the store does not answer")
    with pytest.raises(AudioTuneError, match="holds no release"):
        loader.load_cached()
