"""Connections whose request never comes, and those that come too late.

BentoML's server (uvicorn) waits for the head of a request for ever and has no setting for it (docs.python.org, asyncio protocols;
uvicorn 0.54), so its protocol gets a clock. Bodies have their own in bodies.py.

When a worker stops, BentoML's first process still holds the socket that both listen on: who connects then waits for nobody, and is
reset when that process ends. So the worker shuts that socket: who comes is refused at once, and goes to another replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import uvicorn.protocols.http.auto as chosen
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.generation.problems import Problem


class Listening:
    """The sockets that connections came in by, as copies of our own: uvicorn closes its one before it ends connections."""

    def __init__(self) -> None:
        self._kept: dict[int, list[socket.socket]] = {}

    def met(self, transport: Any) -> None:
        """Notes where a connection came in."""
        name = transport.get_extra_info("sockname")
        port = name[1] if isinstance(name, tuple) else 0
        if port and port not in self._kept:
            self._kept[port] = _listening_on(port)

    def end(self) -> None:
        """From now on the system refuses whoever connects, whatever other process still holds the socket."""
        for each in [one for kept in self._kept.values() for one in kept]:
            with contextlib.suppress(OSError):  # another one did it
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._kept.clear()


LISTENING = Listening()
_FILES = Path("/proc/self/fd")


def _listening_on(port: int) -> list[socket.socket]:
    """Copies of this process's listening sockets of a port; none where the system does not tell (it is Linux that does)."""
    found = []
    for open_file in list(_FILES.iterdir()) if _FILES.is_dir() else ():
        with contextlib.suppress(OSError):  # gone meanwhile
            each = _listener(os.dup(int(open_file.name)), port)
            found += [each] if each else []
    return found


def _listener(file: int, port: int) -> socket.socket | None:
    try:
        each = socket.socket(fileno=file)
    except OSError:  # no socket
        os.close(file)
        return None
    internet = each.family in (socket.AF_INET, socket.AF_INET6)
    if internet and each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and each.getsockname()[1] == port:
        return each
    each.close()
    return None


def guarded(head_s: float) -> type[H11Protocol]:
    """A protocol that closes a connection with 408 when a request's head takes longer than `head_s` from its first byte, or
    from the connection's beginning."""

    class Guarded(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            LISTENING.met(transport)
            self._watch()

        def shutdown(self) -> None:
            LISTENING.end()
            super().shutdown()

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
