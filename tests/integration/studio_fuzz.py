"""Random requests at the real studio: events, widgets' calls, uploads, streams, paths and headers that no page sends.

python -m tests.integration.studio_fuzz --requests 10000 --seed 1

Prints how often each status was answered, what the studio's process took in memory before and after, and each answer that is an error
of the server and not a refusal of ours.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import random
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil

from audiotune.access import accounts
from tests.fakes.seeded_store import seed
from tests.integration import test_studio_browser as browser

API = "/gradio_api"
PASSWORD = "a first password"
OURS = (503, 507)  # the only answers of 500 and more that the studio gives on purpose
_TEXTS = (
    "",
    "ana",
    "../../etc/passwd",
    "x" * 5000,
    "\0",
    "<script>",
    "ü🎛",
    "a" * 64,
    "-1",
    "at_0_0",
    "http://127.0.0.1:1/",
    "true",
)
_JSON_TEXTS = ("", "[]", "null", "{", '{"data":', '{"data": [NaN]}', '"x"', "[" * 3000, '{"session_hash": "\\ud800"}')
_PATHS = (
    "queue/data",
    "heartbeat/",
    "file=",
    "info",
    "upload_progress",
    "call/on_make",
    "queue/status",
    "run/x",
    "component_server",
)
_KINDS = (
    "application/json",
    "text/plain",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "",
    "application/json; charset=x",
)


@dataclass
class FuzzReport:
    """What was answered.

    Attributes:
        statuses: 0 for what the client does not send, 1 for a connection that was closed before everything was read.
        faults: requests with an answer of 500 and more that is not ours.
        before_mb, after_mb: the process's memory.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    before_mb: float = 0.0
    after_mb: float = 0.0

    @property
    def growth(self) -> float:
        return self.after_mb / self.before_mb - 1


class RequestMaker:
    """Makes random requests, most of them nearly right."""

    def __init__(self, seed: int, config: dict[str, Any]) -> None:
        self._random = random.Random(seed)
        self._events = [event["id"] for event in config["dependencies"]]
        widgets = [each for each in config["components"] if each["props"].get("server_fns")]
        self._calls = [(each["id"], name) for each in widgets for name in each["props"]["server_fns"]]
        self._pages = [f"page{number}" for number in range(8)]
        assert self._events
        assert self._calls

    def make_request(self) -> httpx.Request:
        kinds = (
            self._event,
            self._event,
            self._event,
            self._call,
            self._call,
            self._upload,
            self._path,
            self._stream,
            self._login,
        )
        request = self._random.choice(kinds)()
        if self._random.random() < 0.15:
            request.headers[self._random.choice(("Origin", "Host", "Content-Type", "Range", "X-Forwarded-Host", "Accept"))] = (
                "x" * 9
            )
        return request

    def _event(self) -> httpx.Request:
        body: dict[str, Any] = {
            "fn_index": self._perhaps(self._random.choice(self._events)),
            "data": self._perhaps([self._value(3) for _ in range(self._random.randrange(14))]),
            "session_hash": self._perhaps(self._random.choice(self._pages)),
            "trigger_id": self._perhaps(self._random.randrange(200)),
        }
        for name in ("event_data", "event_id", "batched", "simple_format", "oauth_token"):
            if self._random.random() < 0.1:
                body[name] = self._value(2)
        route = self._random.choice(("queue/join", "queue/join", "queue/join", "cancel", "reset"))
        return self._post(route, body)

    def _call(self) -> httpx.Request:
        widget, name = self._random.choice(self._calls)
        page = self._perhaps(self._random.choice(self._pages))
        body = {
            "component_id": self._perhaps(widget),
            "fn_name": self._perhaps(name),
            "session_hash": page,
            "data": self._value(3),
        }
        return self._post("component_server", body)

    def _post(self, route: str, body: Any) -> httpx.Request:
        text = json.dumps(body) if self._random.random() < 0.95 else self._random.choice(_JSON_TEXTS)
        kind = "application/json" if self._random.random() < 0.95 else self._random.choice(_KINDS)
        return httpx.Request("POST", f"{API}/{route}", content=text, headers={"Content-Type": kind})

    def _upload(self) -> httpx.Request:
        if self._random.random() < 0.5:
            name, content = self._random.choice(_TEXTS), self._random.randbytes(self._random.randrange(20_000))
            return httpx.Request("POST", f"{API}/upload", files={self._random.choice(("files", "x", "")): (name or "a", content)})
        parts = (
            b"--x\r\n",
            b'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n',
            b"\r\n--x--\r\n",
            b"\r\n",
            b"\0" * 300,
        )
        content = b"".join(self._random.choices(parts, k=self._random.randrange(7)))
        kind = "multipart/form-data; boundary=x"
        return httpx.Request("POST", f"{API}/upload?upload_id=u", content=content, headers={"Content-Type": kind})

    def _path(self) -> httpx.Request:
        text = self._random.choice(_TEXTS)
        path = self._random.choice((f"{API}/{self._random.choice(_PATHS)}{text}", f"/{text}", f"{API}{text}", f"/assets/{text}"))
        method = self._random.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
        return httpx.Request(method, quote(path, safe="/=:"))

    def _stream(self) -> httpx.Request:
        page = self._perhaps(self._random.choice(self._pages))
        text = quote(str(page), safe="")[:3000]
        return httpx.Request("GET", self._random.choice((f"{API}/queue/data?session_hash={text}", f"{API}/heartbeat/{text}")))

    def _login(self) -> httpx.Request:
        form = {"username": self._random.choice(_TEXTS), "password": self._random.choice(_TEXTS)}
        route = self._random.choice(("/login", "/login/", "/logout", "/oidc/back"))
        return httpx.Request(
            self._random.choice(("POST", "GET", "PUT")), route, data=form, headers={"Sec-Fetch-Site": "cross-site"}
        )

    def _perhaps(self, right: Any) -> Any:
        """The right value most times."""
        return right if self._random.random() < 0.9 else self._value(1)

    def _value(self, depth: int) -> Any:
        plain = (None, True, -1, 0, 7, 2**70, 1e300, self._random.choice(_TEXTS), self._random.random())
        kind = self._random.randrange(len(plain) + 3)
        if depth and kind == len(plain):
            return [self._value(depth - 1) for _ in range(self._random.randrange(4))]
        if depth and kind > len(plain):
            names = ("path", "member", "id", "segment", "tags", "leave", "words", "meta", "choices", "x")
            return {name: self._value(depth - 1) for name in self._random.sample(names, self._random.randrange(5))}
        return plain[min(kind, len(plain) - 1)]


def fuzz_studio(url: str, process_id: int, requests: int, seed: int, members: tuple[str, ...] = ("ana", "ben")) -> FuzzReport:
    """Sends the requests on four connections, as two members. A tenth of them goes before the memory is measured first."""
    report, lock = FuzzReport(), threading.Lock()
    clients = [_sign_in(url, member) for member in (*members, *members)]
    makers = [RequestMaker(seed * 100 + number, clients[number].get("/config").json()) for number in range(len(clients))]

    def work(number: int, count: int) -> None:
        for _ in range(count):
            request = makers[number].make_request()
            status = _send(clients[number], request)
            with lock:
                report.statuses[status] += 1
                if status >= 500 and status not in OURS:
                    report.faults.append(f"{status} {request.method} {str(request.url)[:200]} {request.read()[:400]!r}")

    def send_all(count: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(len(clients)) as threads:
            list(threads.map(work, range(len(clients)), [count // len(clients)] * len(clients)))

    send_all(max(200, requests // 10))
    report.before_mb = _measure_mb(process_id)
    send_all(requests)
    report.after_mb = _measure_mb(process_id)
    assert all(client.get("/config").status_code == 200 for client in clients), "the studio does not serve its members any more"
    return report


def _sign_in(url: str, member: str) -> httpx.Client:
    client = httpx.Client(base_url=url, timeout=60)
    assert client.post("/login", data={"username": member, "password": PASSWORD}).status_code == 200
    return client


def _send(client: httpx.Client, request: httpx.Request) -> int:
    """The answer's status. A stream is closed after its first bytes; its page goes on."""
    try:
        built = client.build_request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers) if request.headers else None
        )
        answer = client.send(built, stream=True)
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        answer.close()
    except (httpx.InvalidURL, httpx.LocalProtocolError, ValueError):
        return 0  # the client itself does not send this
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return 1  # the server refused before it had read everything, and closed the connection
    return answer.status_code


def _measure_mb(process_id: int) -> float:
    return float(psutil.Process(process_id).memory_info().rss) / 1e6


def find_process(port: int) -> int:
    """The process that listens on a port of this machine."""
    found = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    assert found
    assert found[0]
    return int(found[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = seed(Path(folder) / "store", segments_each=2, segment_s=0.3)
        for member in ("ana", "ben"):
            accounts.create_account(made.store, member, PASSWORD, work=1)
        port = browser.free_port()
        with browser.running(
            made.store.url, Path(folder), module="tests.fakes.studio", port=port, AUDIOTUNE_ACCESS="members"
        ) as url:
            report = fuzz_studio(url, find_process(port), args.requests, args.seed)
        errors = (Path(folder) / "log").read_text().count("Traceback")
    print(f"{sum(report.statuses.values())} requests: {dict(sorted(report.statuses.items()))}")
    print(f"memory {report.before_mb:.0f} MB before, {report.after_mb:.0f} MB after: {100 * report.growth:+.1f} %")
    print(f"{errors} tracebacks in the log")
    print("\n".join(report.faults[:20]) or "no answer was an error of the server")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
