"""What comes over the wire before there is a request: heads that never end, lengths that lie, hosts that are none. A real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.fakes.in_process_service import InProcessService, until
from tests.fakes.live_service import serve_http

HEAD_S = 0.5


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bench = InProcessService(tmp_path_factory.mktemp("wire"), body_s=0.5)
    bench.loaded()
    with serve_http(bench, HEAD_S) as address:
        yield address
    bench.stop()


def connected(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=20)


def answer(url: str, data: bytes) -> bytes:
    """All that comes back until the other side closes, or has said something and waits."""
    told = b""
    with connected(url) as line, suppress(OSError):
        line.sendall(data)
        told = line.recv(65_536)
        line.settimeout(0.2)
        while part := line.recv(65_536):
            told += part
    return told


def alive(url: str) -> bool:
    return httpx.get(f"{url}/v1/health", timeout=20).status_code == 200


@pytest.mark.parametrize("head", [b"", b"G", b"GET /v1/health HT", b"POST /v1/generations HTTP/1.1\r\nHost: x\r\nX-A: b"])
def test_a_head_that_does_not_end_is_told_408_and_the_line_is_closed(url: str, head: bytes) -> None:
    with connected(url) as line:
        line.sendall(head)
        told = b""
        while part := line.recv(65_536):
            told += part
    assert told.startswith(b"HTTP/1.1 408")
    assert b"head-too-slow" in told


def test_a_head_that_drips_gains_nothing_by_it(url: str) -> None:
    began = time.monotonic()
    with connected(url) as line:
        line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n")
        line.settimeout(0.05)
        told = b""
        while not told and time.monotonic() - began < 20:
            try:
                line.sendall(b"X-A: b\r\n")
                told = line.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - began < 15
    assert told.startswith(b"HTTP/1.1 408") or not told


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
    told = answer(url, data)
    assert not told or told.startswith(b"HTTP/1.1 ")
    assert int(told[9:12] or CUT) in statuses, told[:300]
    assert told.count(b"HTTP/1.1 ") <= 1, "a second answer: something was smuggled through"
    assert alive(url)


def test_the_real_server_gets_the_same_guard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BentoML leaves the choice of the protocol to uvicorn."""
    import uvicorn
    import uvicorn.protocols.http.auto as chosen

    from services.generation.host import connections

    monkeypatch.setattr(chosen, "AutoHTTPProtocol", chosen.AutoHTTPProtocol)
    connections.install_head_guard(3.0)
    config = uvicorn.Config(lambda: None)
    config.load()
    assert config.http_protocol_class.__name__ == "Guarded"


def test_no_answered_request_waits_for_the_end_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """BentoML's own middleware keeps a clock, and all that the request knew, for as long as a request may take."""
    from types import SimpleNamespace

    import bentoml._internal.server.http.traffic as traffic
    from bentoml._internal.server.base_app import BaseAppFactory

    from services.generation.host import connections

    def built() -> list[object]:
        settings = SimpleNamespace(timeout=900.0, max_concurrency=None)
        return [made.cls(app, *made.args, **made.kwargs) for made in BaseAppFactory.middlewares.fget(settings)]

    async def app(*_: object) -> None:
        pass

    monkeypatch.setattr(traffic, "TimeoutMiddleware", traffic.TimeoutMiddleware)
    assert [type(one).__name__ for one in built()] == ["TimeoutMiddleware"], (
        "BentoML makes it elsewhere now: wire.py must know where"
    )
    connections.remove_request_timeouts()
    assert built() == [app]


class Transport:
    """A connection, as asyncio hands it to a protocol."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def get_extra_info(self, name: str) -> object:
        return self._line.getsockname() if name == "sockname" else None


def test_who_comes_too_late_is_refused_though_another_process_holds_the_socket() -> None:
    from services.generation.host.connections import ListeningSockets

    loop = asyncio.new_event_loop()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        held, listening = server.dup(), ListeningSockets()  # as BentoML's first process holds it
        with socket.create_connection(server.getsockname()), server.accept()[0] as line:
            for _ in range(2):
                listening.note_connection(Transport(line), loop)
        listening.close_sockets()
        listening.close_sockets()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.getsockname(), timeout=5)
        socket.create_connection(other.getsockname(), timeout=5).close()
        held.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before, "copies are left open"
    loop.close()


def test_nobody_is_reset_when_a_worker_leaves(tmp_path: Path) -> None:
    """Clients that come without pause before, while and after it leaves: answered or refused, and the others go on."""
    from services.generation.host.connections import ListeningSockets

    bench, ears, ended, outcomes = InProcessService(tmp_path), ListeningSockets(), threading.Event(), []
    ask = b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def come() -> None:
        while not ended.is_set():
            try:
                told = answer(url, ask)[:15].decode()
            except ConnectionRefusedError:
                told = "refused"
                time.sleep(0.01)
            outcomes.append(told or "reset")

    with serve_http(bench, 5.0, ears) as url:
        assert alive(url)
        clients = [threading.Thread(target=come) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        ears.stop_listening()
        until(lambda: "refused" in outcomes)
        time.sleep(0.2)
        after = len(outcomes)
        until(lambda: len(outcomes) > after + 20)
        ended.set()
        for client in clients:
            client.join(20)
    bench.stop()
    assert set(outcomes) <= {"refused", "HTTP/1.1 200 OK", "HTTP/1.1 503 Ser"}, Counter(outcomes)
    assert set(outcomes[after:]) == {"refused"}, "somebody was still let in"
