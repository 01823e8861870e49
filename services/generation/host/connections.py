"""Connections whose request never comes, and those that come too late.

BentoML's server (uvicorn) waits for the head of a request for ever and has no setting for it (docs.python.org, asyncio protocols;
uvicorn 0.54), so its protocol gets a clock. Bodies have their own in bodies.py.

When a worker stops, BentoML's first process still holds the socket that both listen on: who connects then waits for nobody, and is
reset when that process ends. So the worker shuts that socket: who comes is refused at once, and goes to another replica. Shutting
resets whoever is connected and not taken in yet, so the worker first takes all in (`Listening.leave`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

import bentoml._internal.server.http.traffic as traffic
import uvicorn.protocols.http.auto as chosen
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.generation.http.problems import ProblemError


class ListeningSockets:
    """The sockets that connections came in by, as copies of our own: uvicorn closes its one before it ends connections."""

    def __init__(self) -> None:
        self._kept: dict[int, list[socket.socket]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def note_connection(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Notes where a connection came in."""
        name = transport.get_extra_info("sockname")
        port = name[1] if isinstance(name, tuple) else 0
        if port and port not in self._kept:
            self._kept[port] = [copy for _, copy in _find_listeners(port)]
            self._loop = loop

    def stop_listening(self) -> None:
        """Ends listening without a reset for anybody, from any thread: who has connected is taken in and answered, whose first
        packet comes now gets no answer (his system sends it again after a second) and is refused as soon as all are in."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop_new_connections, self._loop)

    def _drop_new_connections(self, loop: asyncio.AbstractEventLoop) -> None:
        for copy in self._list_copies():
            _drop_packets(copy)
        loop.call_later(_TAKE_IN_S, self._close_listeners, loop)  # a loop takes in who waits before it looks at its clocks

    def _close_listeners(self, loop: asyncio.AbstractEventLoop) -> None:
        for port in self._kept:
            for file, copy in _find_listeners(port):
                loop.remove_reader(file)  # it would be told of the end again and again
                copy.close()
        self.close_sockets()

    def close_sockets(self) -> None:
        """From now on the system refuses whoever connects, whatever other process still holds the socket."""
        for copy in self._list_copies():
            with contextlib.suppress(OSError):  # another one did it
                copy.shutdown(socket.SHUT_RDWR)
            copy.close()
        self._kept.clear()

    def _list_copies(self) -> list[socket.socket]:
        return [copy for kept in list(self._kept.values()) for copy in kept]


LISTENING_SOCKETS = ListeningSockets()
_FILES = Path("/proc/self/fd")
_TAKE_IN_S = 0.25
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, which Python's socket does not name


def _drop_packets(listener: socket.socket) -> None:
    """Lets the system drop each packet to a listening socket (socket(7), classic BPF), where it can: Linux."""
    drop = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K: keep 0 bytes
    program = ctypes.create_string_buffer(drop, len(drop))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


def _find_listeners(port: int) -> list[tuple[int, socket.socket]]:
    """This process's listening sockets of a port, each with a copy; none where the system does not tell (it is Linux that does)."""
    found = []
    for open_file in list(_FILES.iterdir()) if _FILES.is_dir() else ():
        with contextlib.suppress(OSError):  # gone meanwhile
            copy = _open_listener(os.dup(int(open_file.name)), port)
            found += [(int(open_file.name), copy)] if copy else []
    return found


def _open_listener(file: int, port: int) -> socket.socket | None:
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


def make_guarded_protocol(head_s: float, listening: ListeningSockets = LISTENING_SOCKETS) -> type[H11Protocol]:
    """A protocol that closes a connection with 408 when a request's head takes longer than `head_s` from its first byte, or
    from the connection's beginning; `listening` hears of each connection."""

    class Guarded(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            listening.note_connection(transport, self.loop)
            self._watch_head()

        def shutdown(self) -> None:
            listening.close_sockets()
            super().shutdown()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_clock()  # the head is here
            elif self._clock is None:
                self._clock = self.loop.call_later(head_s, self._close_late)

        def _stop_clock(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _close_late(self) -> None:
            self._clock = None
            if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
                return
            body = json.dumps(
                ProblemError(408, f"no request came within {head_s:g} s", code="head-too-slow").to_body("", "")
            ).encode()
            head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

    return Guarded


def install_head_guard(head_s: float) -> None:
    """For every uvicorn that is configured in this process from now on and was not told its protocol: BentoML's."""
    chosen.AutoHTTPProtocol = make_guarded_protocol(head_s)


def remove_request_timeouts() -> None:
    """Takes BentoML's clock out of every application that is made in this process from now on: it starts one for each request and
    stops none, so that 5 kB of each answered request stay until its time is over (BentoML 1.4; 345 MiB after 73,000 requests)."""
    traffic.TimeoutMiddleware = _skip_timeout  # type: ignore[misc, assignment]


def _skip_timeout(app: Any, timeout: float) -> Any:
    return app
