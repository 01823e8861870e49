"""Whom a request comes from, and which pages may send it: named proxies, the name asked for, Origin and Sec-Fetch-Site."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audiotune.errors import SettingsError
from services.studio.http.named_proxies import NamedProxies, parse_networks
from services.studio.http.same_origin import SameOrigin
from services.studio.settings import load_studio_settings

HERE = "http://studio.lan:7860"
SPOOFED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Gradio-Server": "http://evil.example",
    "Forwarded": "for=203.0.113.7",
}


async def _show_sender(request: Request) -> Response:
    assert request.client
    told = {"client": request.client.host, "host": request.headers["host"], "scheme": request.url.scheme}
    return JSONResponse({**told, "headers": sorted(name for name in request.headers if "forwarded" in name or "gradio" in name)})


def ask(
    method: str = "GET", headers: dict[str, str] | None = None, *, url: str = f"{HERE}/", proxies: str = "", **more: Any
) -> httpx.Response:
    origin = {"public_url": "", "hosts": [], **more}
    middleware = [Middleware(NamedProxies, proxies=parse_networks(proxies)), Middleware(SameOrigin, **origin)]
    app = Starlette(routes=[Route("/", _show_sender, methods=["GET", "POST"])], middleware=middleware)

    async def work() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("192.0.2.5", 50_000))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, url, headers=headers)

    return asyncio.run(work())


def test_what_a_stranger_says_about_forwarding_does_not_count() -> None:
    told = ask(headers=SPOOFED).json()
    assert (told["client"], told["host"], told["scheme"]) == ("192.0.2.5", "studio.lan:7860", "http")
    assert told["headers"] == ["x-forwarded-proto"]  # only whether the sender's own page is for https


@pytest.mark.parametrize("proxies", ["192.0.2.5", "10.0.0.0/8, 192.0.2.0/24"])
def test_what_a_named_proxy_forwards_counts(proxies: str) -> None:
    headers = {**SPOOFED, "X-Forwarded-Host": "evil.example, studio.band.example"}
    told = ask(headers=headers, proxies=proxies, hosts=["studio.band.example"]).json()
    assert (told["client"], told["host"], told["scheme"]) == ("203.0.113.7", "studio.band.example", "https")
    assert ask(headers=SPOOFED, proxies="192.0.2.6").json()["client"] == "192.0.2.5"


@pytest.mark.parametrize(
    "host",
    [
        "localhost:7860",
        "127.0.0.1",
        "[::1]:7860",
        "192.168.1.9:80",
        "studio",
        "jam.local",
        "audio-tune-studio.band.svc",
        "s.example",
    ],
)
def test_the_studio_answers_to_addresses_local_names_and_its_own(host: str) -> None:
    assert ask(headers={"Host": host}, public_url="https://s.example").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "localhost.evil.example", "a@localhost", "", "lan.", "x/y"]
)
def test_the_studio_answers_to_no_name_that_somebody_else_may_have(host: str) -> None:
    answer = ask(headers={"Host": host}, public_url="https://s.example")
    assert answer.status_code == 421
    assert "AUDIOTUNE_STUDIO_HOSTS" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://studio.lan"},  # another port
        {"Origin": "http://wiki.lan:7860"},
        {"Origin": "http://studio.lan:7860", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://studio.lan:port", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_a_page_of_another_site_is_refused(method: str, headers: dict[str, str]) -> None:
    assert ask(method, headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": HERE},
        {"Origin": HERE, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://s.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_the_studios_own_pages_and_programs_may_change_things(headers: dict[str, str]) -> None:
    assert ask("POST", headers, public_url="https://s.example").status_code == 200


def test_a_link_on_another_site_opens_a_page_and_sends_nothing() -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask("GET", link).status_code == 200
    assert ask("POST", link).status_code == 403
    assert ask("POST", {**link, "Origin": "https://evil.example"}).status_code == 403


def test_at_its_public_name_the_page_is_for_the_scheme_of_the_public_address() -> None:
    assert ask(url="http://s.example/", public_url="https://s.example").json()["scheme"] == "https"
    assert ask("POST", {"Origin": "http://s.example"}, url="http://s.example/", public_url="https://s.example").status_code == 403
    assert ask(url="http://127.0.0.1:7860/", public_url="https://s.example").json()["scheme"] == "http"


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(SettingsError, match=r"AUDIOTUNE_STUDIO_PROXIES.*nginx"):
        load_studio_settings({}, proxies="10.0.0.1, nginx")
