"""Whoever began a run is told of its end, also when nobody looks at a page: at the head of the page and by the notices' channels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from audiotune.domain.upload import Upload, UploadedFile
from audiotune.errors import StoreError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.open_matters import list_open_matters
from audiotune.runs.port import RunSnapshot
from audiotune.store import FolderStore
from services.studio.library import LibraryCache
from services.studio.notices.notice import Notice
from services.studio.notices.sender import NoticeSender
from services.studio.pages.matters import _PLACES
from services.studio.run_records import RunRights
from services.studio.run_watch import RunWatch
from services.studio.stored_news import StoredNewsReader
from services.studio.training_runs import TrainingRuns
from services.studio.upload_runs import UploadRuns
from tests.fakes.runner import ScriptedRunner
from tests.fakes.seeded_store import Seeded, seed

RIGHTS = RunRights("members", signs_in=False, owns=lambda member: False)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.2)


@dataclass
class Ear:
    """A channel that keeps what it is asked to send."""

    name: str = "ear"
    told: list[Notice] = field(default_factory=list)

    def list_receivers(self, notice: Notice) -> list[str]:
        return list(notice.to)

    def send(self, notice: Notice, receiver: str, id: str) -> None:
        self.told.append(notice)


class Watched:
    """A studio's runs, one training of ana's and one upload of ben's begun, and nobody at a page."""

    def __init__(self, store: FolderStore, runner: ScriptedRunner) -> None:
        self.store, self.ear = store, Ear()
        self.trainings = TrainingRuns(store, runner, RIGHTS, every_s=0)
        self.uploads = UploadRuns(store, runner, LibraryCache(store), RIGHTS, every_s=0)
        self.sender = NoticeSender(store, [self.ear], StoredNewsReader(store, every_s=0))
        self.sender.collect()
        self.trainings.start_run("ana", {"training_name": "jam"})
        files = (UploadedFile(name="a.wav", blob=store.put_blob(b"x", ".wav"), size=1),)
        self.upload = Upload(id="20270101-1", uploaded_by="ben", contributors=("ben",), files=files)
        store.put(self.upload.key, self.upload.model_dump_json().encode())
        self.uploads.start_run(self.upload, "ben")

    def tell(self) -> list[tuple[str, tuple[str, ...], str]]:
        """What the channel was told after one look, without what was told before."""
        self.ear.told.clear()
        RunWatch(self.trainings, self.uploads).look()
        self.sender.collect()
        self.sender.deliver(self.ear)
        return [(one.kind, one.to, one.words) for one in self.ear.told]

    def list_news(self, member: str) -> list[tuple[str, str]]:
        """At the head of a member's page."""
        state, news = open_ledger(self.store).read_state(), StoredNewsReader(self.store, every_s=0).list_news()
        matters = list_open_matters(state, member, datetime.now(UTC), news)
        return [(one.kind, one.words) for one in matters if one.kind in ("run", "upload")]


@pytest.fixture
def watched(group: Seeded, runner: ScriptedRunner) -> Watched:
    return Watched(group.store, runner)


def test_who_began_it_is_told_once(watched: Watched, runner: ScriptedRunner) -> None:
    assert watched.tell() == []
    runner.seen = RunSnapshot(outcome="done")
    told = watched.tell()
    assert sorted(told) == [
        ("run", ("ana",), "your training of jam is done"),
        ("upload", ("ben",), "your upload of 1 file is cut into segments"),
    ]
    assert watched.tell() == []
    assert watched.list_news("ana") == [("run", "your training of jam is done")]
    assert watched.list_news("ben") == [("upload", "your upload of 1 file is cut into segments")]
    assert watched.list_news("chi") == []
    assert _PLACES["upload"] == ("Upload",)


def test_a_failure_is_told_and_each_try_is_a_thing_of_its_own(watched: Watched, runner: ScriptedRunner) -> None:
    runner.seen = RunSnapshot(outcome="failed", words="no space left")
    assert [words for kind, _, words in watched.tell() if kind == "upload"] == [
        "your upload of 1 file could not be cut into segments"
    ]
    runner.seen = RunSnapshot()
    watched.uploads.retry_run(watched.upload.id, "ben")
    runner.seen = RunSnapshot(outcome="done")
    assert [words for _, _, words in watched.tell()] == ["your upload of 1 file is cut into segments"]


def test_nobody_is_told_what_they_ended_themselves(watched: Watched, runner: ScriptedRunner) -> None:
    watched.trainings.cancel_run("ana")
    watched.uploads.stop_run(watched.upload.id, "ana")
    runner.seen = RunSnapshot(outcome="failed")
    assert watched.tell() == [("upload", ("ben",), "your upload of 1 file was cancelled")]


def test_a_runner_or_store_that_is_away_is_asked_again(
    watched: Watched, runner: ScriptedRunner, caplog: pytest.LogCaptureFixture
) -> None:
    runner.away = "Kubeflow does not answer"
    assert watched.tell() == []

    class Away:
        def read_status(self) -> None:
            raise StoreError("the store is away")

    RunWatch(Away(), watched.uploads).look()  # type: ignore[arg-type]
    assert "the store is away" in caplog.text
    runner.away, runner.seen = "", RunSnapshot(outcome="done")
    assert len(watched.tell()) == 2


def test_an_upload_that_was_erased_is_told_of_to_nobody(watched: Watched, runner: ScriptedRunner) -> None:
    runner.seen = RunSnapshot(outcome="done")
    RunWatch(watched.trainings, watched.uploads).look()
    watched.store.delete(watched.upload.key)
    assert watched.list_news("ben") == []


def test_it_looks_again_and_again(watched: Watched, runner: ScriptedRunner) -> None:
    runner.seen, watch = RunSnapshot(outcome="done"), RunWatch(watched.trainings, watched.uploads)
    watch.start(every_s=0.01)
    for _ in range(500):
        if len(watched.list_news("ana") + watched.list_news("ben")) == 2:
            break
        time.sleep(0.02)
    watch.stop()
    assert watched.list_news("ana")
