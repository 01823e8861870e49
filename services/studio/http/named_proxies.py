"""Whom a request comes from: what it says about forwarding counts only where a proxy that the settings name has sent it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FORWARDED_HOST = b"x-forwarded-host"
# Gradio builds the page's root address of the first two. X-Forwarded-Proto stays: it says only whether the sender's own page and cookie
# are for https, and browsers let no other site send it.
_NEVER_BY_STRANGERS = frozenset(
    (
        b"x-gradio-server",
        _FORWARDED_HOST,
        b"x-forwarded-for",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"forwarded",
        b"x-real-ip",
    )
)


class NamedProxies:
    """ASGI middleware. Behind a named proxy the client's address, scheme and host are those that the proxy forwards.

    Args:
        proxies: addresses and networks.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[_Network]) -> None:
        self._app, self._proxies = app, proxies
        self._behind_proxy = ProxyHeadersMiddleware(app, [str(network) for network in proxies])  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._is_named(scope["client"][0] if scope.get("client") else ""):
            await self._behind_proxy(_take_forwarded_host(scope), receive, send)  # type: ignore[arg-type]
        else:
            await self._app({**scope, "headers": _drop_headers(scope, _NEVER_BY_STRANGERS)}, receive, send)

    def _is_named(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._proxies)


def parse_networks(text: str) -> list[_Network]:
    """Addresses and networks with commas between them. Raises ValueError."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _take_forwarded_host(scope: Scope) -> Scope:
    """The request with the host that the proxy was asked for. The last one counts: a proxy appends to what it was sent."""
    forwarded = [value for name, value in scope["headers"] if name == _FORWARDED_HOST]
    headers = _drop_headers(scope, {b"x-gradio-server", _FORWARDED_HOST})
    if forwarded and (host := forwarded[-1].rpartition(b",")[2].strip()):
        headers = [(name, value) for name, value in headers if name != b"host"] + [(b"host", host)]
    return {**scope, "headers": headers}


def _drop_headers(scope: Scope, names: frozenset[bytes] | set[bytes]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in scope["headers"] if name not in names]
