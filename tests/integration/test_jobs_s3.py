"""Jobs on a real S3 server: made once, claimed by one of several workers at a time, ended once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from audiotune.generation import GenerationRequest
from audiotune.store import open_store
from services.generation.jobs.book import Book
from services.generation.jobs.record import Event, Job
from services.generation.jobs.runner import Maker, Runner
from tests.integration.minio import server_or_skip

pytestmark = pytest.mark.integration
ASK = GenerationRequest(prompt="a drone", seed=1)


class AtOnce(Maker):
    """Is done with everything at the next look."""

    def ready(self) -> bool:
        return True

    def room(self, member: str) -> bool:
        return True

    def begin(self, job: Job) -> Any:
        return job.id

    def done(self, handle: Any) -> bool:
        return True

    def ending(self, job: Job, handle: Any) -> Event:
        return Event(kind="done")

    def leave(self, handle: Any) -> None:
        """Nothing to stop."""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, server_or_skip(tmp_path_factory.mktemp("minio")) as minio:
        for name, value in minio.environment.items():
            patch.setenv(name, value)
        patch.setenv("AUDIOTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        boto3.client("s3").create_bucket(Bucket="jobs")
        yield "s3://jobs/group"


def test_many_makers_make_one_job_and_many_workers_end_each_once(bucket: str) -> None:
    stores = [open_store(bucket) for _ in range(3)]
    ids = [f"job-{number:05d}" for number in range(12)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda store: [Book(store).make("ana", id, ASK) for id in ids], stores))
        assert len(list(Book(stores[0]).open())) == len(ids)
        runners = [Runner(Book(store), AtOnce(), lease_s=30) for store in stores]
        together = threading.Barrier(3)

        def work(runner: Runner) -> None:
            runner.beat()
            together.wait(20)
            for _ in range(3):
                runner.step()

        list(pool.map(work, runners))
    for id in ids:
        events = [json.loads(stores[0].get(entry.key))["kind"] for entry in stores[0].list(f"jobs/log/ana/{id}/")]
        assert events == ["made", "claimed", "done"], events
    assert not list(Book(stores[0]).open())
    found, mark = Book(stores[0]).listed("ana", 5)
    assert len(found) == 5
    assert mark
