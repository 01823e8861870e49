"""A proxy that the environment names is not asked for this machine's own servers; one that cannot be spoken to does not end a program."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from audiotune import client
from audiotune.errors import GenerationError
from audiotune.outside.proxies import configure_proxies
from audiotune.registry import mlflow_server

DEAD = "http://127.0.0.1:9"


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        if place == "/v1/sounds/moved":
            self.send_response(302)
            self.send_header("Location", f"{self.server.elsewhere}/v1/sounds/there")  # type: ignore[attr-defined]
            self.end_headers()
            return
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        body = b'{"ready": true}' if place == "/v1/health" else b"<h1>Sign in</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "audio/wav" if place.endswith("there") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()


def serve() -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def servers() -> Iterator[tuple[http.server.ThreadingHTTPServer, str]]:
    """A server, and another one to which it sends on."""
    first, second = serve(), serve()
    first.elsewhere = f"http://127.0.0.1:{second.server_address[1]}"  # type: ignore[attr-defined]
    yield second, f"http://127.0.0.1:{first.server_address[1]}"
    for server in (first, second):
        server.shutdown()
        server.server_close()


def test_servers_of_this_machine_are_asked_without_a_proxy(
    servers: tuple[http.server.ThreadingHTTPServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, DEAD)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert mlflow_server._is_healthy(servers[1])
    assert client.health(servers[1])["ready"]


def test_every_library_hears_of_this_machine() -> None:
    environment = {"HTTPS_PROXY": DEAD, "no_proxy": "minio.band, localhost"}
    configure_proxies(environment)
    assert environment["no_proxy"] == "minio.band,localhost,127.0.0.1,::1"
    assert environment["NO_PROXY"] == "localhost,127.0.0.1,::1"
    configure_proxies(environment)
    assert environment["no_proxy"] == "minio.band,localhost,127.0.0.1,::1"
    untouched: dict[str, str] = {"PATH": "/bin"}
    configure_proxies(untouched)
    assert untouched == {"PATH": "/bin"}


def test_a_socks_proxy_is_told_and_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"ALL_PROXY": "socks5://127.0.0.1:9", "https_proxy": DEAD}
    configure_proxies(environment)
    assert "ALL_PROXY" not in environment
    assert environment["https_proxy"] == DEAD
    assert "ALL_PROXY names a SOCKS proxy" in capsys.readouterr().err


def test_a_token_follows_no_redirect_to_another_server(servers: tuple[http.server.ThreadingHTTPServer, str]) -> None:
    other, url = servers
    assert client.Client(url, "at_secret").sound("moved").audio == b"<h1>Sign in</h1>"
    assert other.seen == [None]  # type: ignore[attr-defined]


def test_a_sign_in_page_is_no_sound(servers: tuple[http.server.ThreadingHTTPServer, str]) -> None:
    with pytest.raises(GenerationError, match="no sound but text/html"):
        client.Client(servers[1], "at_secret").sound("any")
    with pytest.raises(GenerationError, match="302"):
        client.Client(servers[1], "at_secret").generate(prompt="x")
