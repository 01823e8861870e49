"""A fake-driven service on a real port, for clients that speak real HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from services.generation.host.server import DrainingServer
from tests.fakes.in_process_service import InProcessService, until


@contextmanager
def serve_http(bench: InProcessService, notice_s: float = 0.0) -> Iterator[str]:
    """The service's address while the block lasts, on the server that `python -m services.generation` runs."""
    with run_server(bench, notice_s) as (url, _):
        yield url


@contextmanager
def run_server(bench: InProcessService, notice_s: float = 0.0) -> Iterator[tuple[str, DrainingServer]]:
    """Address and server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = DrainingServer(bench.client.app, bench.context, "127.0.0.1", port, notice_s)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not end"
