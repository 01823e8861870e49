"""MLflow's server behind keys: `mlflow server --app-name audio-tune`, found by the entry point in `plugin/`.

A key is sent as MLflow's clients and browsers send one: MLFLOW_TRACKING_TOKEN (bearer), or a password with any name (basic).

    AUDIOTUNE_REGISTRY_WRITE_KEY    may do everything: runs of pipelines, and operators
    AUDIOTUNE_REGISTRY_READ_KEY     may only find and read releases: the generation service

Each holds one key, or several with spaces between them, so that an old key works until everybody has the new one. Without a key,
`/health` answers and nothing else. Only an allow-list can separate reading from writing: MLflow's searches are POST, and its
GraphQL and its gateway take GET.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

from audiotune.errors import SettingsError

WRITE_KEY, READ_KEY = "AUDIOTUNE_REGISTRY_WRITE_KEY", "AUDIOTUNE_REGISTRY_READ_KEY"
_SHORTEST_KEY = 16  # characters

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Right = Literal["read", "write"]

_OPEN = re.compile("/health")
# What the generation service asks (`audiotune/registry/releases.py`), each with GET.
_READ = re.compile(
    "/version|/api/3.0/mlflow/server-info"
    "|/api/2.0/mlflow/(registered-models/(search|get|alias)|model-versions/(search|get)|runs/get|artifacts/list)"
    "|/api/2.0/mlflow-artifacts/artifacts(/.*)?",
    re.DOTALL,
)


class KeyedApp:
    """An ASGI app that passes on only what the request's key allows."""

    def __init__(self, app: AsgiApp, write_keys: list[str], read_keys: list[str]) -> None:
        self._app = app
        self._rights: list[tuple[bytes, Right]] = [
            *((key.encode(), "write") for key in write_keys),
            *((key.encode(), "read") for key in read_keys),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None if scope["type"] == "lifespan" else self._find_refusal(scope)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _send_refusal(send, *refused)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _find_refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, MLflow's error code and a sentence; None where the request may pass."""
        method, path = scope.get("method", ""), scope["path"]
        reads = method in ("GET", "HEAD")
        if reads and _OPEN.fullmatch(path):
            return None
        right = self._find_right(scope)
        if right is None:
            return 401, "UNAUTHENTICATED", "the registry wants a key. Set MLFLOW_TRACKING_TOKEN to it, or give it as the password"
        if right == "write" or (reads and _READ.fullmatch(path)):
            return None
        return 403, "PERMISSION_DENIED", f"this key may only read releases, not {method} {path[:200]}"

    def _find_right(self, scope: Scope) -> Right | None:
        given = _read_key(scope)
        found: Right | None = None
        for key, right in self._rights:  # all of them, so that the time tells nothing
            if hmac.compare_digest(key, given):
                found = right
        return found


def create_app() -> AsgiApp:
    """MLflow's app behind the keys of the environment. Raises SettingsError without keys, or with keys that protect nothing."""
    write_keys, read_keys = read_keys_from_environment()
    from mlflow.server.fastapi_app import app

    return KeyedApp(app, write_keys, read_keys)


def read_keys_from_environment() -> tuple[list[str], list[str]]:
    """The keys that may write, and those that may only read. Raises SettingsError."""
    write_keys, read_keys = (os.environ.get(name, "").split() for name in (WRITE_KEY, READ_KEY))
    cure = "give each a word of its own of random letters, as from `openssl rand -hex 20`"
    if not write_keys:
        raise SettingsError("the registry has no key, and would be open to everybody", where=WRITE_KEY, cure=cure)
    if short := [
        name for name, keys in ((WRITE_KEY, write_keys), (READ_KEY, read_keys)) if min(map(len, keys), default=99) < _SHORTEST_KEY
    ]:
        raise SettingsError(f"a key of less than {_SHORTEST_KEY} characters can be guessed", where=", ".join(short), cure=cure)
    if set(write_keys) & set(read_keys):
        raise SettingsError("a key that may only read may also write", where=f"{WRITE_KEY}, {READ_KEY}", cure=cure)
    return write_keys, read_keys


def _read_key(scope: Scope) -> bytes:
    """The key that a request brings; empty without one, or with more than one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    kind, _, rest = (given[0] if len(given) == 1 else b"").partition(b" ")
    if kind.lower() == b"bearer":
        return bytes(rest.strip())
    if kind.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    return b""


async def _send_refusal(send: Send, status: int, code: str, words: str) -> None:
    """As MLflow words its errors; with 401 a browser asks for the password."""
    body = json.dumps({"error_code": code, "message": words}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 401:
        headers.append(
            (b"www-authenticate", b'Basic realm="Audio Tune: the key of the registry is the password", charset="UTF-8"')
        )
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
