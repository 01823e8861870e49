"""The real studio against requests that no page of its own sends: other sites, other members' pages and files, sizes, and crowds."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from audiotune.access import accounts
from services.studio.http.page_requests import MOST_EVENTS, MOST_PAGES
from tests.fakes.seeded_store import Seeded, seed, tone
from tests.integration import test_studio_browser as browser

pytestmark = pytest.mark.integration
PASSWORD = "a first password"
API = "gradio_api"
Gradio = dict[str, Any]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    made = seed(tmp_path_factory.mktemp("studio") / "store", segments_each=1, segment_s=1.0)
    for member in ("ana", "ben"):
        accounts.create_account(made.store, member, PASSWORD, "owner" if member == "ana" else "member", work=1)
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def studio(group: Seeded, work: Path) -> Iterator[str]:
    flags = ["--upload-limit-mb", "2", "--upload-quota-gb", "0.003"]
    with browser.running(group.store.url, work, flags, AUDIOTUNE_ACCESS="members") as url:
        yield url


def sign_in(studio: str, member: str) -> httpx.Client:
    client = httpx.Client(base_url=studio, timeout=60)
    assert client.post("login", data={"username": member, "password": PASSWORD}).status_code == 200
    return client


@pytest.fixture
def ana(studio: str) -> Iterator[httpx.Client]:
    client = sign_in(studio, "ana")
    yield client
    client.close()


@pytest.fixture
def ben(studio: str) -> Iterator[httpx.Client]:
    client = sign_in(studio, "ben")
    yield client
    client.close()


def find_event(client: httpx.Client, name: str) -> Gradio:
    events: list[Gradio] = client.get("config").json()["dependencies"]
    return next(event for event in events if event["api_name"] == name)


def join(client: httpx.Client, name: str, data: list[Any], page: str, **more: Any) -> httpx.Response:
    event = find_event(client, name)
    body = {"data": data, "fn_index": event["id"], "session_hash": page, "trigger_id": event["targets"][0][0]}
    return client.post(f"{API}/queue/join", json=body, **more)


def follow(client: httpx.Client, page: str, limit_s: float = 60) -> str:
    """The answer's last message, as the page gets it; "" when none comes."""
    with (
        contextlib.suppress(httpx.ReadTimeout),
        client.stream("GET", f"{API}/queue/data", params={"session_hash": page}, timeout=limit_s) as stream,
    ):
        if stream.status_code != 200:
            return str(stream.status_code)
        for line in stream.iter_lines():
            if line.startswith("data:") and ("process_completed" in line or "unexpected_error" in line):
                return line
    return ""


def new_page() -> str:
    return secrets.token_hex(5)


def upload(client: httpx.Client, name: str, content: bytes) -> str:
    answer = client.post(f"{API}/upload", files={"files": (name, content)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0])


def test_an_event_and_its_answer_are_for_the_page_that_asked(ana: httpx.Client) -> None:
    page = new_page()
    assert join(ana, "on_make_1", ["sampler", 30], page).status_code == 200
    assert "at_" in follow(ana, page)
    assert "at_" not in follow(ana, page, limit_s=3)  # the token's text is told once


def test_another_members_page_is_not_heard_cancelled_or_joined(ana: httpx.Client, ben: httpx.Client) -> None:
    page = new_page()
    joined = join(ana, "on_make_1", ["sampler", 30], page)
    assert joined.status_code == 200
    assert follow(ben, page) == "404"
    with ben.stream("GET", f"{API}/heartbeat/{page}") as stream:
        assert stream.status_code == 404
    cancel = {"session_hash": page, "fn_index": 0, "event_id": joined.json()["event_id"]}
    assert ben.post(f"{API}/cancel", json=cancel).status_code == 404
    assert join(ben, "on_make_1", ["sampler", 30], page).status_code == 404
    call = {"data": {}, "component_id": 1, "session_hash": page, "fn_name": "list_uploads"}
    assert ben.post(f"{API}/component_server", json=call).status_code == 404
    assert follow(ben, new_page()) == "404"  # one that nobody opened
    assert "at_" in follow(ana, page)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://wiki.same-site.example", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_changes_nothing(studio: str, ben: httpx.Client, headers: dict[str, str]) -> None:
    form = {"username": "ben", "password": PASSWORD}
    signed_in = httpx.post(f"{studio}login", data=form, headers={**headers, "Accept": "text/html"})
    assert (signed_in.status_code, "set-cookie" in signed_in.headers) == (403, False)
    assert ben.post("logout", headers=headers).status_code == 403
    assert ben.get("logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert ben.get("logout").status_code == 200  # a page with a button
    assert join(ben, "on_make_1", ["x", 30], new_page(), headers=headers).status_code == 403
    preflight = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    assert ben.options(f"{API}/queue/join", headers=preflight).headers.get("access-control-allow-origin") is None
    assert ben.get("config").status_code == 200


def test_an_event_is_json_of_a_bounded_size(ben: httpx.Client) -> None:
    event = find_event(ben, "on_make_1")
    body = json.dumps({"data": ["x", 30], "fn_index": event["id"], "session_hash": new_page()})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert ben.post(f"{API}/queue/join", content=body, headers={"Content-Type": kind}).status_code == 415, kind
    assert join(ben, "on_make_1", ["x" * 300_000, 30], new_page()).status_code == 413
    chunks = (body[:20].encode() + b" " * 30_000 for _ in range(20))
    streamed = ben.post(f"{API}/queue/join", content=chunks, headers={"Content-Type": "application/json"})
    assert streamed.status_code == 413
    deep = '{"data": ' + "[" * 5000 + "]" * 5000 + "}"
    for wrong in ("", "[]", '{"data": [NaN]}', '{"data": ["\\ud800"]}', deep, body.replace('"fn_index": ', '"fn_index": 9')):
        answer = ben.post(f"{API}/queue/join", content=wrong, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, wrong[:40]


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.wav", "x.xml", "x.pdf"])
def test_an_upload_is_for_its_member_and_runs_nothing(ana: httpx.Client, ben: httpx.Client, name: str) -> None:
    path = upload(ben, name, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/><script>alert(1)</script>")
    own = ben.get(f"{API}/file={path}")
    assert own.status_code == 200
    assert own.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in own.headers["content-security-policy"]
    assert name.endswith("wav") or "attachment" in own.headers["content-disposition"]
    assert ana.get(f"{API}/file={path}").status_code == 404
    page = new_page()
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert join(ana, "on_send", [[file], ["ana"], "", "", "LicenseRef-members-only", ""], page).status_code == 403


def test_an_event_names_no_file_and_no_address_but_ones_own_uploads(group: Seeded, ben: httpx.Client) -> None:
    own = upload(ben, "own.wav", tone(440, 0.2).data.tobytes()[:1000])
    store = Path(group.store.url) / "governance"
    for path in (
        "/etc/passwd",
        str(store),
        "http://127.0.0.1:1/x.wav",
        "https://example.org/x",
        f"{own}/../../../../../etc/passwd",
        "",
    ):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for data in ([[file], ["ben"], "", "", "x", ""], [{"a": [file]}]):
            assert join(ben, "on_send", data, new_page()).status_code == 403, path
        assert ben.get(f"{API}/file={path}").status_code in (403, 404), path


def test_uploads_are_refused_by_size_before_they_are_read_and_leave_nothing(ben: httpx.Client, studio: str, work: Path) -> None:
    folder = work / "work" / "files" / "uploads" / "ben"

    def count() -> int:
        return sum(path.is_file() for path in folder.rglob("*"))

    before = count()
    parts = urlsplit(studio)
    head = (
        f"POST /{API}/upload HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Cookie: {'; '.join(f'{cookie.name}={cookie.value}' for cookie in ben.cookies.jar)}\r\nContent-Length: 300000000\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as raw:
        raw.sendall(head.encode())  # and not one byte of the body
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    assert ben.post(f"{API}/upload", files={"files": ("large.wav", bytes(2_100_000))}).status_code == 413
    assert ben.post(f"{API}/upload", data={"files": "x" * 2_000_000}, files={"other": ("x", b"")}).status_code in (400, 413)

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        for _ in range(200):
            yield bytes(100_000)

    streamed = ben.post(f"{API}/upload", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert streamed.status_code == 413
    assert count() == before
    for _ in range(3):
        last = ben.post(f"{API}/upload", files={"files": ("a.wav", bytes(1_400_000))})
    assert (last.status_code, "Keep those first" in last.text) == (413, True)


def test_one_member_may_not_fill_the_queue_nor_the_memory(studio: str, ana: httpx.Client, ben: httpx.Client) -> None:
    event = find_event(ben, "on_change")

    def ask(number: int) -> int:
        body = {"data": ["a guess at it", "another password", False], "fn_index": event["id"], "session_hash": f"crowd{number}"}
        with sign_in_again(ben, studio) as client:
            return client.post(f"{API}/queue/join", json=body).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(3 * MOST_PAGES)))
    assert set(answers) <= {200, 429}
    assert answers.count(200) > 0
    assert 429 in answers or len(answers) <= MOST_EVENTS
    page = new_page()
    assert join(ana, "on_make_1", ["sampler", 30], page).status_code == 200
    assert "at_" in follow(ana, page)


def sign_in_again(client: httpx.Client, studio: str) -> httpx.Client:
    """The same session over a connection of its own."""
    return httpx.Client(base_url=studio, timeout=60, cookies=client.cookies)


def test_every_page_and_refusal_carries_the_security_headers(studio: str, ben: httpx.Client) -> None:
    for answer in (ben.get(""), ben.get("config"), httpx.get(studio), httpx.get(f"{studio}config"), ben.get("nothing/here")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Gradio-Server", "Forwarded", "X-Forwarded-For"])
def test_what_the_asker_says_about_forwarding_does_not_reach_the_page(ben: httpx.Client, header: str) -> None:
    page = ben.get("", headers={header: "https://evil.example", "X-Forwarded-Proto": "https"})
    assert page.status_code == 200
    assert "evil.example" not in page.text
    assert ben.get("", headers={"Host": "evil.example"}).status_code == 421


def test_of_gradios_addresses_only_those_of_the_pages_are_there(ben: httpx.Client) -> None:
    for path in (
        "deep_link?session_hash=a",
        "runs",
        "vibe-code/",
        "proxy=http://127.0.0.1:1/",
        "openapi.json",
        "dev/reload",
        "mcp",
    ):
        assert ben.get(f"{API}/{path}").status_code == 404, path
    for path in ("call/on_pack", "api/on_pack", "run/on_pack", "stream/x", "process_recording", "vibe-edit/"):
        assert ben.post(f"{API}/{path}", json={"data": []}).status_code == 404, path
    for path in ("monitoring", "monitoring/summary", "docs", "openapi.json", f"assets/{'x' * 5000}", f"static/{'ü' * 200}"):
        assert ben.get(path).status_code == 404, path


def test_nothing_of_this_was_an_error_of_the_studio(work: Path) -> None:
    log = (work / "log").read_text()
    assert "Traceback" not in log, log[-3000:]
