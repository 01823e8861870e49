"""A reverse proxy that shows one server below a path of its own name, and another site at every other path."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.fakes.http_server import answering

_OF_ONE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "host")


@contextlib.contextmanager
def proxying(
    port: int, prefix: str, *, strips: bool, before: Callable[[str, str], None] = lambda method, path: None
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address below the path, without a slash at its end; and (path, cookies) of each request to the other site.

    Args:
        port: of the server on this machine.
        strips: whether the path is taken off, as by nginx's `location /x/ { proxy_pass http://server/; }`.
        before: is called with method and path before each request is passed on.
    """
    elsewhere: list[tuple[str, str]] = []

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _pass_on(self) -> None:
            path = urlsplit(self.path).path
            if path != prefix and not path.startswith(f"{prefix}/"):
                elsewhere.append((self.path, self.headers.get("Cookie", "")))
                self._answer(404 if path != "/" else 200, [("Content-Length", "12"), ("Content-Type", "text/plain")])
                self.wfile.write(b"another site")
                return
            before(self.command, path)
            target = self.path.removeprefix(prefix) if strips else self.path
            length = int(self.headers.get("Content-Length", "0"))
            server = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
            try:
                body = self.rfile.read(length) if length else None
                server.request(self.command, target or "/", body, {**headers, "Host": self.headers["Host"]})
                answer = server.getresponse()
                kept = [pair for pair in answer.getheaders() if pair[0].lower() not in _OF_ONE_CONNECTION]
                self._answer(answer.status, kept)
                while part := answer.read1(65_536):
                    self.wfile.write(part)
                    self.wfile.flush()
            except (ConnectionError, http.client.HTTPException, TimeoutError):
                pass  # the browser or the server has left
            finally:
                server.close()

        def _answer(self, status: int, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for name, value in [*headers, ("Connection", "close")]:
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _pass_on

    with answering(Proxy) as url:
        yield f"{url.replace('127.0.0.1', 'localhost')}{prefix}", elsewhere
