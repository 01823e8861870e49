"""Around every request: an id, one line of JSON in the log, a count in the metrics."""

from __future__ import annotations

import json
import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.generation.metrics import Metrics

LOG = logging.getLogger("audiotune.generation")
_QUIET = {"/v1/health", "/metrics"}


class Door:
    """Plain ASGI, so that a client's disconnect still reaches the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["id"] = request_id
        began, status = time.monotonic(), 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            self._note(scope, request_id, status, time.monotonic() - began)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.count(route, scope["method"], status, seconds)
        if route not in _QUIET:
            facts = {"request_id": request_id, "method": scope["method"], "path": scope["path"][:200]}
            LOG.info(json.dumps({**facts, "status": status, "seconds": round(seconds, 3)}))
