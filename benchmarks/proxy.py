"""A small load balancer that follows readiness, as a Kubernetes service does:

    python -m benchmarks.proxy PORT URL URL ...

It asks each replica for /readyz every half second and sends requests to the ready ones in turn, over connections that it keeps.
A refused connection goes to the next replica: nothing was accepted. Every other failure is a request that a replica may have
accepted without answering it: it is told as 502.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

_POLL_S = 0.5
_TIMEOUT_S = 60.0
_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class ReadinessProxy:
    """An ASGI application; `poll` runs beside it."""

    def __init__(self, urls: list[str]) -> None:
        self._urls, self._ready = urls, set[str]()
        self._turns = itertools.count()
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, limits=httpx.Limits(max_connections=100, max_keepalive_connections=50))

    async def poll(self) -> None:
        while True:
            answers = await asyncio.gather(*map(self._is_ready, self._urls))
            self._ready = {url for url, ready in zip(self._urls, answers) if ready}
            await asyncio.sleep(_POLL_S)

    async def _is_ready(self, url: str) -> bool:
        try:
            return (await self._http.get(f"{url}/readyz", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._forward(request, await request.body())
        await answer(scope, receive, send)

    async def _forward(self, request: Request, body: bytes) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in _OF_ONE_CONNECTION}
        for url in self._next_urls():
            target = f"{url}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
            try:
                answer = await self._http.request(request.method, target, headers=headers, content=body)
            except httpx.ConnectError:
                continue
            except httpx.HTTPError as e:
                return PlainTextResponse(f"{target}: no answer: {type(e).__name__} {e}", 502)
            kept = {name: value for name, value in answer.headers.items() if name not in _OF_ONE_CONNECTION}
            return Response(answer.content, answer.status_code, kept)
        return PlainTextResponse("no replica is ready", 503, {"Retry-After": "1"})

    def _next_urls(self) -> Iterator[str]:
        first = next(self._turns)
        for n in range(len(self._urls)):
            url = self._urls[(first + n) % len(self._urls)]
            if url in self._ready:
                yield url


async def run_proxy(port: int, urls: list[str]) -> None:
    proxy = ReadinessProxy(urls)
    polling = asyncio.create_task(proxy.poll())
    await uvicorn.Server(uvicorn.Config(proxy, port=port, lifespan="off", log_level="warning")).serve()
    polling.cancel()


if __name__ == "__main__":
    asyncio.run(run_proxy(int(sys.argv[1]), sys.argv[2:]))
