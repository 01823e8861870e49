"""uvicorn around the application, with an end that Kubernetes and load balancers understand.

After a signal to stop (SIGTERM, SIGINT) the service reports at once that it is not ready, and still answers for the notice time, so
that load balancers send the next requests elsewhere. Then it closes its port and answers the accepted requests: with sounds for up to
`drain_s`, after that with 503 and Retry-After. After a second signal it stops at once.
"""

import asyncio
import math
import socket
import time
from types import FrameType
from typing import Any

import uvicorn

from services.generation.host.head_timeout import make_head_timeout_protocol
from services.generation.http.context import GenerationContext
from services.generation.http.middleware import LARGEST_HEAD_BYTES

_KEEP_ALIVE_S = 75  # longer than clients (5 s) and load balancers (60 s), which must close an idle connection first
_LAST_REQUESTS_S = 0.5  # for the requests of connections that were made before the port closed
_LAST_ANSWERS_S = 5  # for the answers to what could not be finished


class DrainingServer(uvicorn.Server):
    """See the module. `notice_s`: seconds between the signal and the closing of the port."""

    def __init__(self, app: Any, context: GenerationContext, host: str, port: int, notice_s: float) -> None:
        protocol, drain_s = make_head_timeout_protocol(context.settings.head_s), math.ceil(context.settings.drain_s)
        limits: dict[str, Any] = {"h11_max_incomplete_event_size": LARGEST_HEAD_BYTES, "timeout_keep_alive": _KEEP_ALIVE_S}
        limits |= {"timeout_graceful_shutdown": drain_s + _LAST_ANSWERS_S}
        super().__init__(
            uvicorn.Config(app, host, port, http=protocol, ws="none", log_config=None, server_header=False, **limits)
        )
        self._context, self._notice_s, self._close_at = context, notice_s, math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._context.stopping.is_set():
            self.force_exit, self.should_exit = self.should_exit, True
        else:
            self._context.announce_stop()
            self._close_at = time.monotonic() + self._notice_s

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or time.monotonic() >= self._close_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        asyncio.get_running_loop().call_later(self._context.settings.drain_s, self._context.engine.stop)
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


def remove_request_timers() -> None:
    """BentoML (1.4) gives each request a timer that stays until `traffic.timeout` is over, with 5 kB of what the request knew, and
    has no setting without it. This is the only private name of BentoML that is touched."""
    import bentoml._internal.server.http.traffic as traffic

    traffic.TimeoutMiddleware = lambda app, timeout: app  # type: ignore[misc, assignment, return-value]
