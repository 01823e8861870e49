"""uvicorn waits for the head of a request without end and has no setting for it (0.54): this protocol gives each head a time."""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from services.generation.http.problems import ProblemError


def make_head_timeout_protocol(head_s: float) -> type[H11Protocol]:
    """For uvicorn's setting `http`: a head that takes longer than `head_s` is answered with 408, and its connection closed."""

    class HeadTimeoutProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:  # the head is here
                self._stop_timer()
            elif self._timer is None:
                self._timer = self.loop.call_later(head_s, self._refuse_late_head)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _refuse_late_head(self) -> None:
            if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
                return
            problem = ProblemError(408, f"no request came within {head_s:g} s", code="head-too-slow")
            body = json.dumps(problem.to_body("", "")).encode()
            head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

    return HeadTimeoutProtocol
