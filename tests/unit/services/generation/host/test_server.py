"""What comes over a real socket before there is a request (heads that never end, lengths that lie, hosts that are none), and the end
of the service: not ready at once, still answering, and no accepted request without an answer."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from services.generation.host.server import DrainingServer, remove_request_timers
from tests.fakes.in_process_service import ASK, InProcessService, until
from tests.fakes.live_service import run_server, serve_http

HEAD_S = 0.5


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bench = InProcessService(tmp_path_factory.mktemp("wire"), body_s=0.5, head_s=HEAD_S)
    bench.loaded()
    with serve_http(bench) as address:
        yield address
    bench.stop()


def connected(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=20)


def answer(url: str, data: bytes) -> bytes:
    """All that comes back until the other side closes, or has said something and waits."""
    answered = b""
    with connected(url) as line, suppress(OSError):
        line.sendall(data)
        answered = line.recv(65_536)
        line.settimeout(0.2)
        while part := line.recv(65_536):
            answered += part
    return answered


def alive(url: str) -> bool:
    return httpx.get(f"{url}/v1/health", timeout=20).status_code == 200


@pytest.mark.parametrize("head", [b"", b"G", b"GET /v1/health HT", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nX-A: b"])
def test_a_head_that_does_not_end_is_told_408_and_the_line_is_closed(url: str, head: bytes) -> None:
    with connected(url) as line:
        line.sendall(head)
        answered = b""
        while part := line.recv(65_536):
            answered += part
    assert answered.startswith(b"HTTP/1.1 408")
    assert b"head-too-slow" in answered


def test_a_head_that_drips_gains_nothing_by_it(url: str) -> None:
    began = time.monotonic()
    with connected(url) as line:
        line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n")
        line.settimeout(0.05)
        answered = b""
        while not answered and time.monotonic() - began < 20:
            try:
                line.sendall(b"X-A: b\r\n")
                answered = line.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - began < 15
    assert answered.startswith(b"HTTP/1.1 408") or not answered


def test_hundred_slow_ones_hold_nobody_up(url: str) -> None:
    lines = [connected(url) for _ in range(100)]
    for line in lines:
        line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-A: ")
    assert alive(url)
    assert [line.recv(12) for line in lines] == [b"HTTP/1.1 408"] * 100
    for line in lines:
        line.close()


def test_a_line_that_is_kept_open_serves_more_than_one_request(url: str) -> None:
    """The clock runs for heads, not for what the service itself takes, nor for what comes after it."""
    with httpx.Client(base_url=url, timeout=20) as http:
        for _ in range(3):
            assert http.get("/v1/health").status_code == 200
            time.sleep(HEAD_S / 2)
        sound = http.post("/v1/generations", json={"prompt": "a drone", "seconds": 0.5, "steps": 3, "seed": 1})
        assert sound.status_code == 200


CUT = 0  # what is too large to be read at once may be cut off while it is sent, before the answer is heard
LINES = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (400,)),
    ("a line without a path", b"GET HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    ("no host", b"GET /v1/health HTTP/1.1\r\n\r\n", (400,)),
    ("two hosts", b"GET /v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
    ("a giant header", b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n", (400, 431, CUT)),
    ("twenty thousand headers", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", (400, 431, CUT)),
    ("a giant path", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414, CUT)),
    ("a NUL in a header", b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", (400,)),
    ("a folded header", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n", (400,)),
    ("two lengths", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}", (400,)),
    ("a length below zero", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}", (400,)),
    ("a length that is none", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n{}", (400,)),
    ("a coding nobody knows", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}", (400, 501)),
    (
        "chunks that lie", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n", (400,),
    ),
    (
        "a length and chunks", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n", (400,),
    ),
    (
        "a body that never comes", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99\r\n\r\n{", (408,),
    ),
    ("another server's address", b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    ("a tunnel", b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405)),
]  # fmt: skip


@pytest.mark.parametrize(("data", "statuses"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_what_is_no_request_is_refused_and_the_service_lives(url: str, data: bytes, statuses: tuple[int, ...]) -> None:
    answered = answer(url, data)
    assert not answered or answered.startswith(b"HTTP/1.1 ")
    assert int(answered[9:12] or CUT) in statuses, answered[:300]
    assert answered.count(b"HTTP/1.1 ") <= 1, "a second answer: something was smuggled through"
    assert alive(url)


def test_no_answered_request_waits_for_the_end_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """BentoML's own middleware keeps a clock, and all that the request knew, for as long as a request may take."""
    from types import SimpleNamespace

    import bentoml._internal.server.http.traffic as traffic
    from bentoml._internal.server.base_app import BaseAppFactory

    def built() -> list[object]:
        settings = SimpleNamespace(timeout=900.0, max_concurrency=None)
        return [made.cls(app, *made.args, **made.kwargs) for made in BaseAppFactory.middlewares.fget(settings)]

    async def app(*_: object) -> None:
        pass

    monkeypatch.setattr(traffic, "TimeoutMiddleware", traffic.TimeoutMiddleware)
    assert [type(one).__name__ for one in built()] == ["TimeoutMiddleware"], (
        "BentoML makes it elsewhere now: host/server.py must know where"
    )
    remove_request_timers()
    assert built() == [app]


def stop(server: DrainingServer) -> None:
    """As SIGTERM does."""
    server.handle_exit(signal.SIGTERM, None)


def test_asked_to_stop_it_is_not_ready_at_once_and_answers_on(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench, run_server(bench, notice_s=60) as (url, server):
        assert httpx.get(f"{url}/readyz").status_code == 200
        stop(server)
        assert httpx.get(f"{url}/readyz").status_code == 503
        health = httpx.get(f"{url}/v1/health").json()
        assert (health["ready"], health["reason"]) == (False, "it is stopping")
        sound = httpx.post(f"{url}/v1/generations", json=ASK, timeout=20)
        assert (sound.status_code, sound.headers["connection"]) == (200, "close")


def test_the_port_closes_when_the_notice_is_over(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench, run_server(bench, notice_s=0.5) as (url, server):
        began = time.monotonic()
        stop(server)
        until(lambda: is_refused(url))
        assert time.monotonic() - began >= 0.5


def test_what_was_accepted_is_answered_after_the_port_has_closed(tmp_path: Path) -> None:
    """A sound that is being made, and a request that comes in over a connection made before."""
    with InProcessService(tmp_path) as bench, run_server(bench) as (url, server), ThreadPoolExecutor(1) as pool:
        bench.tones.gate.clear()
        sound = pool.submit(httpx.post, f"{url}/v1/generations", json=ASK, timeout=20)
        until(lambda: bench.tones.batches)
        with connected(url) as quiet:
            until(lambda: len(server.server_state.connections) == 2)
            stop(server)
            until(lambda: is_refused(url))
            quiet.sendall(b"GET /v1/releases/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            assert quiet.recv(65_536).startswith(b"HTTP/1.1 404")
        bench.tones.gate.set()
        assert sound.result().status_code == 200


def test_what_cannot_be_finished_in_time_is_told_when_to_come_back(tmp_path: Path) -> None:
    with (
        InProcessService(tmp_path, drain_s=0.3, queue=8) as bench,
        run_server(bench) as (url, server),
        ThreadPoolExecutor(2) as pool,
    ):
        bench.tones.gate.clear()
        ask = [{**ASK, "seed": seed, "seconds": seconds} for seed, seconds in ((1, 0.5), (2, 0.3))]
        waiting = [pool.submit(httpx.post, f"{url}/v1/generations", json=body, timeout=20) for body in ask]
        until(lambda: bench.tones.batches and bench.engine.queue_length)
        stop(server)
        for each in waiting:
            answer = each.result()
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "not-ready", "5")
            assert "stopping" in answer.json()["detail"]


def test_asked_twice_it_does_not_wait_for_the_notice(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench, run_server(bench, notice_s=60) as (url, server):
        stop(server)
        stop(server)
        began = time.monotonic()
        until(lambda: is_refused(url))
        assert time.monotonic() - began < 10


def test_a_stopping_service_claims_no_job(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench, run_server(bench, notice_s=60) as (url, server):
        stop(server)
        assert httpx.put(f"{url}/v1/jobs/job-0001", json=ASK).status_code == 202
        time.sleep(0.3)
        assert httpx.get(f"{url}/v1/jobs/job-0001").json()["state"] == "queued"
        stop(server)


def test_clients_that_follow_readiness_are_all_answered(tmp_path: Path) -> None:
    """As behind a load balancer: eight clients without a pause, which stop within the notice time."""
    outcomes: Counter[str] = Counter()
    ready, ask = threading.Event(), b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def follow(url: str) -> None:
        while httpx.get(f"{url}/readyz").status_code == 200:
            time.sleep(0.02)
        ready.clear()

    def come(url: str) -> None:
        while ready.is_set():
            outcomes[answer(url, ask)[:12].decode() or "no answer"] += 1

    with InProcessService(tmp_path) as bench, run_server(bench, notice_s=60) as (url, server):
        ready.set()
        threads = [threading.Thread(target=work, args=(url,)) for work in (follow, *[come] * 8)]
        for thread in threads:
            thread.start()
        until(lambda: outcomes["HTTP/1.1 200"] > 20)
        stop(server)
        for thread in threads:
            thread.join(20)
        stop(server)
    assert set(outcomes) <= {"HTTP/1.1 200", "HTTP/1.1 503"}, outcomes


def is_refused(url: str) -> bool:
    try:
        connected(url).close()
    except ConnectionRefusedError:
        return True
    return False
