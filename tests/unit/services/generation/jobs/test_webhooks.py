"""Webhooks of many members: a receiver that is slow, drips or says nothing holds up nobody else's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from audiotune.domain.generation import GenerationRequest
from services.generation.jobs.events import JobEvent
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.webhooks import WebhookSender
from services.generation.settings import GenerationSettings
from tests.fakes.http_server import answering
from tests.fakes.in_process_service import until
from tests.fakes.memory_store import MemoryStore

SETTINGS = GenerationSettings(webhook_secret="s3cret", webhook_hosts="127.0.0.1,localhost,ip6-localhost", jobs_poll_s=0.02)
ASK = GenerationRequest(prompt="a drone", seed=1)


class SlowReceiver:
    """Accepts connections, counts them, and answers a byte now and then, or nothing at all."""

    def __init__(self, drips: bool = True) -> None:
        self._drips, self.taken, self.open_now, self.most_open = drips, 0, 0, 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._hold, args=(taken,), daemon=True).start()

    def _hold(self, taken: socket.socket) -> None:
        with self._lock:
            self.taken, self.open_now = self.taken + 1, self.open_now + 1
            self.most_open = max(self.most_open, self.open_now)
        taken.settimeout(0.05)
        with taken:
            for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 4000:
                try:
                    if self._drips:
                        taken.send(bytes([byte]))
                    if taken.recv(9999) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        with self._lock:
            self.open_now -= 1

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def slow() -> Iterator[SlowReceiver]:
    made = SlowReceiver()
    yield made
    made.close()


@contextmanager
def quick() -> Iterator[tuple[str, list[float]]]:
    """A receiver that answers at once, and when it was told."""
    came: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            came.append(time.monotonic())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url, came


def end_job(jobs: JobStore, member: str, number: int, webhook: str) -> None:
    jobs.create(member, f"job-{number:05d}", ASK, webhook)
    jobs.end(member, f"job-{number:05d}", JobEvent(kind="cancelled"))


def start_sender(jobs: JobStore, try_s: float) -> WebhookSender:
    return WebhookSender(jobs, SETTINGS, lambda job: {"id": job.id}, try_s)


@pytest.mark.parametrize("drips", [True, False])
def test_a_try_has_one_deadline_however_the_receiver_spends_it(drips: bool) -> None:
    jobs, receiver = JobStore(MemoryStore()), SlowReceiver(drips)
    end_job(jobs, "ana", 1, f"http://127.0.0.1:{receiver.port}/x")
    began = time.monotonic()
    start_sender(jobs, 0.4).send_due(datetime.now(UTC))
    assert 0.3 < time.monotonic() - began < 3
    assert jobs.get_webhook_log("ana", "job-00001").tries[0].problem == "no answer within 0.4 s"
    receiver.close()


@pytest.mark.parametrize("other", ["ana", "ben"])
def test_a_silent_receiver_holds_up_neither_other_members_nor_its_own_members_other_hosts(slow: SlowReceiver, other: str) -> None:
    jobs = JobStore(MemoryStore())
    for number in range(20):
        end_job(jobs, "ana", number, f"http://127.0.0.1:{slow.port}/x")
    with quick() as (url, came):
        end_job(jobs, other, 99, url)
        sender, began = start_sender(jobs, 5.0).start(), time.monotonic()
        until(lambda: came)
        assert came[0] - began < 2.5
        assert slow.most_open <= 2
        sender.stop()


def test_one_host_takes_few_tries_at_once_whoever_names_it(slow: SlowReceiver) -> None:
    jobs = JobStore(MemoryStore())
    for number, member in enumerate(["ana", "ben", "chi", "dan", "eva"]):
        end_job(jobs, member, number, f"http://127.0.0.1:{slow.port}/x")
    with quick() as (url, came):
        end_job(jobs, "fay", 9, url)
        sender = start_sender(jobs, 5.0).start()
        until(lambda: came)
        time.sleep(0.3)
        assert slow.most_open == 2
        sender.stop()


def test_what_is_not_due_is_not_read_again(slow: SlowReceiver) -> None:
    """A thousand waiting webhooks must not cost a thousand reads in each round."""
    store = MemoryStore()
    jobs, now = JobStore(store), datetime.now(UTC)
    slow.close()
    for number in range(10):
        end_job(jobs, "ana", number, f"http://127.0.0.1:{slow.port}/x")
    sender = start_sender(jobs, 1.0)
    sender.send_due(now)
    assert all(len(jobs.get_webhook_log("ana", f"job-{number:05d}").tries) == 1 for number in range(10))
    reads: list[str] = []
    get = store.get
    store.get = lambda key: reads.append(key) or get(key)  # type: ignore[method-assign, func-returns-value]
    sender.send_due(now)
    assert not reads
