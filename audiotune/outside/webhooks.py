"""Webhooks: a signed POST to an address that somebody gave, which is checked each time and never in the group's own network.

The signature is that of standardwebhooks.com: HMAC-SHA256 over "<id>.<time>.<body>", in the header `webhook-signature`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import re
import ssl
import time
from urllib.parse import SplitResult, urlsplit

import httpx

from audiotune.errors import AddressError
from audiotune.outside.public_addresses import Resolve, look_up_host, resolve_public_host

_URL = re.compile(r"[!-~]+")


def check_address(url: str, hosts: str, resolve: Resolve | None = None) -> tuple[SplitResult, str]:
    """The parts of an address that may be asked, and the IP address to connect to.

    Args:
        hosts: with commas, as in `daw.home:8443`: these need be neither https nor public.

    Raises AddressError: not https, not public, or no address.
    """
    if not _URL.fullmatch(url):
        raise AddressError("give https://host/path, in ASCII and without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise AddressError("no address") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        raise AddressError("give https://host/path")
    trusted = is_named_host(host, port, hosts)
    if parts.scheme != "https" and not trusted:
        raise AddressError("give https://host/path")
    return parts, (look_up_host(host, port, resolve) if trusted else resolve_public_host(host, port, resolve))[0]


def is_named_host(host: str, port: int, hosts: str) -> bool:
    """Whether the operator names this host, or this port of it."""
    named = {name.strip().lower() for name in hosts.split(",") if name.strip()}
    return bool({host.lower(), f"{host}:{port}".lower()} & named)


def sign_webhook(secret: str, id: str, at: str, body: bytes) -> str:
    right = hmac.digest(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(right).decode()


def post_webhook(parts: SplitResult, address: str, id: str, body: bytes, secret: str, try_s: float) -> int:
    """One attempt; the status of the receiver's answer. Raises httpx.HTTPError, TimeoutError."""
    at = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": at,
        "webhook-signature": sign_webhook(secret, id, at, body),
    }
    return asyncio.run(send_checked("POST", parts, address, body, headers, try_s))


async def send_checked(method: str, parts: SplitResult, address: str, body: bytes, headers: dict[str, str], try_s: float) -> int:
    """Connects to the address that was checked, whatever the name resolves to a moment later; reads no more than the answer's head."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{address}]" if ":" in address else address
    url = f"{parts.scheme}://{host}:{port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    headers = {"Host": parts.netloc, "User-Agent": "audio-tune", **headers}
    async with (
        asyncio.timeout(try_s),
        httpx.AsyncClient(verify=_load_authorities(), trust_env=False, timeout=None, follow_redirects=False) as http,
        http.stream(method, url, content=body, headers=headers, extensions={"sni_hostname": parts.hostname}) as answer,
    ):
        return answer.status_code


@functools.cache
def _load_authorities() -> ssl.SSLContext:
    return ssl.create_default_context()
