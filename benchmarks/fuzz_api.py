"""Fuzzes the generation service over real HTTP: 20,000 requests, which ones were answered by 5xx, and what memory they left behind.

    python -m benchmarks.fuzz_api --count 20000

The service is the real one on a fake release (tests/fakes/fake_models.py), with members' tokens, in a process of its own, because what
hypothesis remembers grows, too. `tests/integration/test_fuzzed_api.py` plays a part of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil
from hypothesis import HealthCheck, Phase, given, settings

from audiotune.access import tokens
from tests.fakes.fuzzed_requests import HIDDEN, MADE, FuzzedRequest, fuzz_requests
from tests.fakes.in_process_service import InProcessService
from tests.fakes.live_service import serve_http

_TIMEOUT_S = 20.0
_MOST = [("post", "/v1/generations")] * 12 + [("put", "/v1/jobs/{id}")] * 6  # where there is most to go wrong
_SHOWN = 20


@dataclass(frozen=True)
class FuzzedService:
    """`routes`: (method, path template) of its OpenAPI document; `tokens`: of two members."""

    url: str
    routes: Sequence[tuple[str, str]]
    tokens: Sequence[str]


@dataclass
class FuzzResult:
    """Attributes:
    statuses: how often each was answered.
    broken: the first answers of 5xx, each with its request.
    made: digest of the sound that was made last; it takes the place of one that nobody made.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    made: bytes = MADE


@contextmanager
def serve_fuzzed(folder: Path) -> Iterator[FuzzedService]:
    """A service whose bounds of number are out of the way."""
    wide = {"rate_per_minute": 1_000_000, "member_jobs": 100_000, "member_queue": 1000, "queue": 1000, "init_s": 5}
    bench = InProcessService(folder, members=True, webhook_secret="s3cret", registry_secret="s", **wide)
    bench.loaded()
    paths = bench.client.get("/openapi.json").json()["paths"]
    routes = [(method, path) for path, methods in paths.items() for method in methods]
    keys = [tokens.issue_token(bench.store, member, ["admin"], 1) for member in ("ana", "ben")]
    try:
        with serve_http(bench) as url:
            yield FuzzedService(url, routes, keys)
    finally:
        bench.stop()


def fuzz_service(service: FuzzedService, count: int, after_each: Callable[[int], None] = lambda sent: None) -> FuzzResult:
    """Sends so many fuzzed requests, one after another; calls `after_each` with how many were sent."""
    found = FuzzResult()
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as http:

        @settings(
            max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(fuzz_requests([*service.routes, *service.routes, *HIDDEN, *_MOST], service.tokens))
        def send(asked: FuzzedRequest) -> None:
            _send_one(http, service.url, asked, found)
            after_each(found.statuses.total())

        send()
    return found


def _send_one(http: httpx.Client, url: str, asked: FuzzedRequest, found: FuzzResult) -> None:
    path, body = asked.path.replace(MADE, found.made), asked.body.replace(MADE, found.made)
    headers = [(name.encode(), value) for name, value in asked.headers]
    with http.stream(asked.method, httpx.URL(url).copy_with(raw_path=path), headers=headers, content=body) as answer:
        answer.read()
    found.statuses[answer.status_code] += 1
    found.made = answer.headers.get("x-audio-tune-sound", "").encode() or found.made
    if answer.status_code >= 500 and len(found.broken) < _SHOWN:
        found.broken.append(f"{answer.status_code} {answer.text[:300]} for {asked.method} {path!r} {headers} {body[:300]!r}")


def _serve(folder: Path, told: Connection) -> None:
    """The service's process: says what it serves, and ends when it is told to."""
    with serve_fuzzed(folder) as service:
        told.send(service)
        told.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="requests (default 20000)")
    args = parser.parse_args()
    began, rss_mb = time.monotonic(), list[float]()
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(Path(folder), theirs), daemon=True)
        process.start()
        measured = psutil.Process(process.pid)

        def measure(sent: int) -> None:
            if sent % max(1, args.count // 10) == 0:
                rss_mb.append(measured.memory_info().rss / 1e6)

        found = fuzz_service(ours.recv(), args.count, measure)
        ours.send("end")
        process.join()
    print(f"{found.statuses.total()} requests in {time.monotonic() - began:.0f} s: {dict(sorted(found.statuses.items()))}")
    growth = 100 * (rss_mb[-1] / rss_mb[1] - 1)  # by the second tenth all is loaded, and what is remembered is full
    print(f"memory after each tenth: {', '.join(f'{mb:.0f}' for mb in rss_mb)} MB; from the second to the last {growth:+.1f} %")
    print(f"answers of 5xx: {sum(number for status, number in found.statuses.items() if status >= 500)}")
    print("\n".join(found.broken))


if __name__ == "__main__":
    main()
