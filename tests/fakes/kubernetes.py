"""A small Kubernetes API server of our own: objects by path, access reviews by a set of rights, impersonation as asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlparse

from tests.fakes.http_server import answering


class FakeKubernetes:
    """State of the server.

    Args:
        objects: path -> object (or text, as a proxied service answers); change it to make something go wrong.
        rights: account -> what it may do, as "verb group/resource/name".
        forbidden: paths nobody may read.
        date: the Date header; empty is the machine's own time.
    """

    def __init__(self, objects: dict[str, Any], rights: dict[str, set[str]]) -> None:
        self.objects, self.rights = objects, rights
        self.forbidden: set[str] = set()
        self.date = ""

    def answer(self, method: str, path: str, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path in self.forbidden:
            return 403, {"kind": "Status", "reason": "Forbidden"}
        if method == "POST" and path.endswith("/selfsubjectaccessreviews"):
            wish = body["spec"]["resourceAttributes"]
            kind = "/".join(filter(None, (wish["resource"], wish.get("subresource", ""))))
            word = f"{wish['verb']} {wish.get('group', '')}/{kind}/{wish.get('name', '')}"
            return 201, {**body, "status": {"allowed": word in self.rights.get(user, set())}}
        if path in self.objects:
            return 200, self.objects[path]
        return 404, {"kind": "Status", "reason": "NotFound"}


@contextmanager
def serving(fake: FakeKubernetes) -> Iterator[str]:
    """The fake behind real HTTP on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            user = self.headers.get("Impersonate-User") or ""
            code, answer = fake.answer(self.command, urlparse(self.path).path, user, json.loads(body or "{}"))
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def date_time_string(self, timestamp: float | None = None) -> str:
            return fake.date or super().date_time_string(timestamp)  # type: ignore[arg-type]

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url
