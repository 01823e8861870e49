"""Jobs on a real S3 server: made once, claimed by one of several workers at a time, ended once."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from audiotune.domain.generation import GenerationRequest
from audiotune.store import open_store
from services.generation.http.problems import describe_failure
from services.generation.jobs.events import GenerationJob, JobEvent
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.worker import JobMaker, JobWorker
from tests.integration.minio import server_or_skip

pytestmark = pytest.mark.integration
ASK = GenerationRequest(prompt="a drone", seed=1)


class AtOnce(JobMaker):
    """Is done with everything at the next look."""

    def is_ready(self) -> bool:
        return True

    def can_begin(self, job: GenerationJob, beside: Collection[GenerationJob]) -> bool:
        return True

    def has_room(self, member: str) -> bool:
        return True

    def begin(self, job: GenerationJob) -> Any:
        return job.id

    def is_done(self, handle: Any) -> bool:
        return True

    def end_event(self, job: GenerationJob, handle: Any) -> JobEvent:
        return JobEvent(kind="done")

    def cancel(self, handle: Any) -> None:
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
        list(pool.map(lambda store: [JobStore(store).create("ana", id, ASK) for id in ids], stores))
        assert len(list(JobStore(stores[0]).list_open())) == len(ids)
        runners = [JobWorker(JobStore(store), AtOnce(), lease_s=30, describe_failure=describe_failure) for store in stores]
        together = threading.Barrier(3)

        def work(runner: JobWorker) -> None:
            runner.write_heartbeat()
            together.wait(20)
            for _ in range(3):
                runner.run_round()

        list(pool.map(work, runners))
    for id in ids:
        events = [json.loads(stores[0].get(entry.key))["kind"] for entry in stores[0].list(f"jobs/log/ana/{id}/")]
        assert events == ["made", "claimed", "done"], events
    assert not list(JobStore(stores[0]).list_open())
    found, mark = JobStore(stores[0]).list_page("ana", 5)
    assert len(found) == 5
    assert mark
