"""Around every request: bounds of its head and of how many are open, an id, one line of JSON in the log, a count in the metrics."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.generation.http.problems import ProblemError
from services.generation.metrics import Metrics

LOG = logging.getLogger("audiotune.generation")
_UNCOUNTED = {"/v1/health", "/metrics"}
_CROWDED_S = 2
_LONGEST_PATH_BYTES, LARGEST_HEAD_BYTES = 8_000, 32_000


class RequestMiddleware:
    """Plain ASGI, so that a client's disconnect still reaches the application.

    Args:
        most: requests that may be open at once; health and metrics are not counted. Admission (engine/schedule.py) refuses work
            much earlier; this bounds the memory of all other requests, too.
        stopping: set once the service is about to stop. Each answer then ends its connection, so that the client's next request
            goes to another replica.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, most: int, stopping: threading.Event) -> None:
        self._app, self._metrics, self._most, self._stopping = app, metrics, most, stopping
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["id"] = request_id
        began, status = time.monotonic(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if self._stopping.is_set():
                    headers["Connection"] = "close"
            await send(message)

        counted = int(scope["path"] not in _UNCOUNTED)
        refused = _check_head(scope)
        if refused is None and counted and self._open >= self._most:
            detail, headers = f"{self._open} requests are open. Try again in {_CROWDED_S} s", {"Retry-After": str(_CROWDED_S)}
            refused = ProblemError(503, detail, code="crowded", headers={**headers, "Connection": "close"})
        self._open += counted
        try:
            if refused is not None:
                await refused.to_response(request_id, scope["path"])(scope, receive, send_and_note)
            else:
                await self._app(scope, receive, send_and_note)
        finally:
            self._open -= counted
            self._log_request(scope, request_id, status, time.monotonic() - began)

    def _log_request(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        if route != "/metrics":  # a scrape is no request of a client
            self._metrics.count_answer(route, scope["method"], status, seconds)
        if route not in _UNCOUNTED:
            facts = {"request_id": request_id, "method": scope["method"], "path": scope["path"][:200]}
            LOG.info(json.dumps({**facts, "status": status, "seconds": round(seconds, 3)}))


def _check_head(scope: Scope) -> ProblemError | None:
    """What is wrong with a request's head. Its connection is closed, for the bytes that follow may be anything."""
    close = {"Connection": "close"}
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > _LONGEST_PATH_BYTES:
        return ProblemError(414, f"the path is longer than {_LONGEST_PATH_BYTES} bytes", headers=close)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD_BYTES:
        return ProblemError(431, f"the headers are larger than {LARGEST_HEAD_BYTES} bytes", headers=close)
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
        return ProblemError(400, "give Content-Length or Transfer-Encoding, not both (RFC 9112, 6.3)", headers=close)
    return None
