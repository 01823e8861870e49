"""The registry's door: which key may send which request. The app behind it is a plain one that answers 200 to everything."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from audiotune.errors import SettingsError
from audiotune.registry.mlflow_app import READ_KEY, WRITE_KEY, KeyedApp, read_keys_from_environment

WRITE, OLD, READ = "write-key-of-a-test", "old-write-key-of-a-test", "read-key-of-a-test"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
READABLE = [
    "/version",
    "/api/3.0/mlflow/server-info",
    "/api/2.0/mlflow/registered-models/search",
    "/api/2.0/mlflow/registered-models/get",
    "/api/2.0/mlflow/registered-models/alias",
    "/api/2.0/mlflow/model-versions/search",
    "/api/2.0/mlflow/model-versions/get",
    "/api/2.0/mlflow/runs/get",
    "/api/2.0/mlflow/artifacts/list",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/release/release.json",
]
OTHERS = [
    "/",
    "/graphql",
    "/get-artifact",
    "/static-files/index.js",
    "/ajax-api/2.0/mlflow/registered-models/get",
    "/ajax-api/2.0/mlflow/gateway-proxy",
    "/api/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/webhooks",
    "/api/2.0/mlflow/registered-models/alias/",
    "/api/2.0/mlflow/registered-models/get/%2e%2e/alias",
    "//api/2.0/mlflow/registered-models/get",
    "/API/2.0/mlflow/registered-models/get",
    "/api/2.0/mlflow/registered-models/get%0A",
    "/api/2.0/mlflow-artifacts/presigned/x",
    "/health/",
    "/healthy",
]


async def answer(request: Request) -> JSONResponse:
    return JSONResponse({"passed": True})


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture(scope="module")
def http() -> TestClient:
    app = Starlette(routes=[WebSocketRoute("/socket", chat), Route("/{path:path}", answer, methods=METHODS)])
    return TestClient(KeyedApp(app, [WRITE, OLD], [READ]))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(name: str, key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{key}'.encode()).decode()}"}


@pytest.mark.parametrize("path", [*READABLE, *OTHERS])
def test_what_each_key_may(http: TestClient, path: str) -> None:
    for method in METHODS:
        found = {name: http.request(method, path, headers=bearer(key)).status_code for name, key in
                 (("none", ""), ("wrong", "x" * 30), ("read", READ), ("write", WRITE), ("old", OLD))}  # fmt: skip
        reads = path in READABLE and method in ("GET", "HEAD")
        assert found == {"none": 401, "wrong": 401, "read": 200 if reads else 403, "write": 200, "old": 200}, method


def test_health_is_open_and_only_to_read(http: TestClient) -> None:
    assert http.get("/health").status_code == 200
    assert http.post("/health").status_code == 401


GOOD: dict[str, dict[str, str]] = {
    "bearer": bearer(WRITE),
    "another case": {"authorization": f"bearer {WRITE}"},
    "a password": basic("anybody", WRITE),
    "a password without a name": basic("", WRITE),
}
BAD: dict[str, Any] = {
    "nothing": {},
    "an empty header": {"Authorization": ""},
    "no kind": {"Authorization": WRITE},
    "another kind": {"Authorization": f"Digest {WRITE}"},
    "an empty bearer": {"Authorization": "Bearer "},
    "the beginning": bearer(WRITE[:-1]),
    "the key and more": bearer(f"{WRITE}x"),
    "both keys": bearer(f"{WRITE} {READ}"),
    "the key as the name": basic(WRITE, ""),
    "no base64": {"Authorization": "Basic %%%"},
    "half of base64": {"Authorization": "Basic YTp"},
    "no colon": {"Authorization": f"Basic {base64.b64encode(WRITE.encode()).decode()}"},
    "two headers": [("Authorization", f"Bearer {WRITE}"), ("Authorization", f"Bearer {WRITE}")],
    "another header": {"X-Authorization": f"Bearer {WRITE}"},
}


@pytest.mark.parametrize("how", GOOD)
def test_a_key_as_clients_and_browsers_send_it(http: TestClient, how: str) -> None:
    assert http.post("/api/2.0/mlflow/runs/create", headers=GOOD[how]).status_code == 200


@pytest.mark.parametrize("how", BAD)
def test_anything_else_is_no_key(http: TestClient, how: str) -> None:
    refused = http.post("/api/2.0/mlflow/runs/create", headers=BAD[how])
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert refused.json()["error_code"] == "UNAUTHENTICATED"
    assert "MLFLOW_TRACKING_TOKEN" in refused.json()["message"]
    assert WRITE not in refused.text


def test_a_reader_is_told_what_it_may_not(http: TestClient) -> None:
    refused = http.post("/api/2.0/mlflow/registered-models/alias", headers=bearer(READ))
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "POST /api/2.0/mlflow/registered-models/alias" in refused.json()["message"]


def test_sockets_need_the_key_that_writes(http: TestClient) -> None:
    with http.websocket_connect("/socket", headers=bearer(WRITE)):
        pass
    for headers in ({}, bearer(READ)):
        with pytest.raises(WebSocketDisconnect), http.websocket_connect("/socket", headers=headers):
            pass


@pytest.mark.parametrize(
    ("write", "read", "words"),
    [
        ("", READ, "open to everybody"),
        ("  ", "", "open to everybody"),
        ("short", "", "guessed"),
        (WRITE, "short", "guessed"),
        (f"{WRITE} short", READ, "guessed"),
        (WRITE, f"{READ} {WRITE}", "may also write"),
    ],
)
def test_a_registry_that_would_be_open_does_not_start(write: str, read: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WRITE_KEY, write)
    monkeypatch.setenv(READ_KEY, read)
    with pytest.raises(SettingsError, match=words) as e:
        read_keys_from_environment()
    assert not any(key in str(e.value) for key in (WRITE, READ))


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WRITE_KEY, f"{WRITE} {OLD}\n")
    monkeypatch.delenv(READ_KEY, raising=False)
    assert read_keys_from_environment() == ([WRITE, OLD], [])
