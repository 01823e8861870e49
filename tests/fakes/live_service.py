"""A fake-driven service on a real port, for clients that speak real HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from services.generation.host.connections import ListeningSockets, make_guarded_protocol
from tests.fakes.in_process_service import InProcessService, until


@contextmanager
def serve_http(bench: InProcessService, head_s: float = 10.0, ears: ListeningSockets | None = None) -> Iterator[str]:
    """The bench's address while the block lasts, behind the same guard as in BentoML's server. `ears` knows its socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            bench.client.app, port=port, http=make_guarded_protocol(head_s, ears or ListeningSockets()), log_level="error"
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
