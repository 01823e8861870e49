"""Connections whose request never comes: BentoML's server (uvicorn) waits for the head of a request for ever.

uvicorn has no setting for it (docs.python.org, asyncio protocols; uvicorn 0.54), so its protocol gets a clock. Bodies have
their own in bodies.py.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import uvicorn.protocols.http.auto as chosen
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.generation.problems import Problem


def guarded(head_s: float) -> type[H11Protocol]:
    """A protocol that closes a connection with 408 when a request's head takes longer than `head_s` from its first byte, or
    from the connection's beginning."""

    class Guarded(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()  # the head is here
            elif self._clock is None:
                self._clock = self.loop.call_later(head_s, self._late)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _late(self) -> None:
            self._clock = None
            if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
                return
            body = json.dumps(Problem(408, f"no request came within {head_s:g} s", code="head-too-slow").body("", "")).encode()
            head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

    return Guarded


def guard(head_s: float) -> None:
    """For every uvicorn that is configured in this process from now on and was not told its protocol: BentoML's."""
    chosen.AutoHTTPProtocol = guarded(head_s)
