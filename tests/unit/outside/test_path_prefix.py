"""A server below a path: with a proxy that takes the path off, one that does not, and none."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audiotune.outside.path_prefix import PathPrefix, normalise_path_prefix


async def _tell(request: Request) -> Response:
    return JSONResponse([request.scope["path"], (request.scope.get("raw_path") or b"").decode()])


def ask(path: str, prefix: str = "/band/studio") -> httpx.Response:
    app = Starlette(routes=[Route("/{path:path}", _tell)], middleware=[Middleware(PathPrefix, prefix=prefix)])

    async def work() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get(path)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/band/studio/", ["/", "/"]),
        ("/band/studio/assets/a%20b.js", ["/assets/a b.js", "/assets/a%20b.js"]),
        ("/assets/a.js", ["/assets/a.js", "/assets/a.js"]),  # taken off by the proxy, or asked without one
        ("/band/studios", ["/band/studios", "/band/studios"]),
        ("/band/studio/band/studio/x", ["/band/studio/x", "/band/studio/x"]),
    ],
)
def test_the_path_is_taken_off_once(asked: str, seen: list[str]) -> None:
    assert ask(asked).json() == seen


def test_the_path_alone_is_sent_on_to_the_page_below_it() -> None:
    answer = ask("/band/studio?x=1")
    assert (answer.status_code, answer.headers["location"]) == (307, "/band/studio/?x=1")
    assert ask("/band/studio", prefix="").status_code == 200


@pytest.mark.parametrize(("written", "prefix"), [("", ""), ("/", ""), ("studio", "/studio"), ("/a/b.c/", "/a/b.c")])
def test_a_prefix_is_written_one_way(written: str, prefix: str) -> None:
    assert normalise_path_prefix(written) == prefix


@pytest.mark.parametrize(
    "written", ["/a b", "/../x", "/.", "https://x.example/a", "/a?b", "/<b>", "/login", "/gradio_api/x", "v1"]
)
def test_what_is_no_path_or_the_servers_own_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"as in /studio"):
        normalise_path_prefix(written)
