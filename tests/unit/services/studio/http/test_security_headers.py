"""Every answer carries the security headers; the page's scripts, and no others, have the nonce of their answer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from services.studio.http.security_headers import SecurityHeaders

HEAD = '<base href="./" /><link rel="manifest" href="/manifest.json" />'  # as Gradio's page has them
PAGE = "<html><script>a</script><script type=module src=x></script><scripted></scripted></html>"


async def _page(request: Request) -> Response:
    if "head" in request.query_params:
        return HTMLResponse(HEAD + PAGE)
    if "parts" in request.query_params:
        return StreamingResponse(iter([PAGE[:9], PAGE[9:]]), media_type="text/html")
    return HTMLResponse(PAGE)


def ask(path: str, tmp_path: Path, base_path: str = "") -> httpx.Response:
    (tmp_path / "x.html").write_text(PAGE)

    async def own(request: Request) -> Response:
        return PlainTextResponse("x", headers={"Content-Security-Policy": "own", "Cache-Control": "max-age=9"})

    async def file(request: Request) -> Response:
        return FileResponse(tmp_path / "x.html")

    routes = [Route("/", _page), Route("/own", own), Route("/gradio_api/file=x.html", file), Route("/assets/a.js", _page)]
    app = Starlette(routes=routes, middleware=[Middleware(SecurityHeaders, base_path=base_path)])

    async def work() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
            return await client.get(path)

    return asyncio.run(work())


def test_the_page_runs_its_own_scripts_and_no_markup_runs_any(tmp_path: Path) -> None:
    nonces = set()
    for path in ("/", "/", "/?parts"):
        page = ask(path, tmp_path)
        policy = page.headers["content-security-policy"]
        nonce = re.search(r"script-src 'self' 'nonce-([\w-]{20,})' 'unsafe-eval';", policy)
        assert nonce, policy
        marked = f'<html><script nonce="{nonce[1]}">a</script><script nonce="{nonce[1]}" type=module src=x>'
        assert page.text == marked + PAGE.partition("src=x>")[2]
        assert "'unsafe-inline'" not in policy.partition("style-src")[0]
        assert "frame-ancestors 'none'" in policy
        nonces.add(nonce[1])
    assert len(nonces) == 3


def test_every_answer_carries_the_headers_also_one_that_is_no_page(tmp_path: Path) -> None:
    for path in ("/", "/nothing", "/own", "/gradio_api/file=x.html", "/assets/a.js"):
        headers = ask(path, tmp_path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    assert (
        ask("/", tmp_path).headers["cache-control"]
        == ask("/gradio_api/file=x.html", tmp_path).headers["cache-control"]
        == "no-store"
    )
    assert "cache-control" not in ask("/assets/a.js", tmp_path).headers
    assert (ask("/own", tmp_path).headers["content-security-policy"], ask("/own", tmp_path).headers["cache-control"]) == (
        "own",
        "max-age=9",
    )


def test_a_file_runs_nothing_even_when_it_is_opened_as_a_page(tmp_path: Path) -> None:
    file = ask("/gradio_api/file=x.html", tmp_path)
    assert "sandbox;" in file.headers["content-security-policy"]
    assert file.text == PAGE


def test_below_a_path_the_pages_addresses_start_there(tmp_path: Path) -> None:
    assert (
        '<base href="/studio/" /><link rel="manifest" href="/studio/manifest.json" />' in ask("/?head", tmp_path, "/studio").text
    )
    assert '<base href="/" /><link rel="manifest" href="/manifest.json" />' in ask("/?head", tmp_path).text
