"""Tokens in front of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from audiotune.access import tokens
from audiotune.store import FolderStore
from tests.fakes.in_process_service import InProcessService

ASK = {"prompt": "a drone", "seconds": 0.2, "steps": 2, "seed": 7}
CLOSED = [
    ("POST", "/v1/generations"), ("GET", f"/v1/sounds/{'0' * 64}"), ("GET", f"/v1/sounds/{'0' * 64}/lineage"),
    ("GET", "/v1/releases"), ("POST", "/v1/releases/look"), ("GET", "/v1/jobs"), ("PUT", "/v1/jobs/abcdefgh"),
    ("GET", "/v1/jobs/abcdefgh"), ("GET", "/v1/jobs/abcdefgh/events"), ("DELETE", "/v1/jobs/abcdefgh"),
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def http(store: FolderStore) -> Iterator[TestClient]:
    made = InProcessService(store, members=True)
    made.loaded()
    yield made.client
    made.stop()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_request_without_a_token_is_refused(http: TestClient, method: str, path: str) -> None:
    answer = http.request(method, path, json=ASK if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.json()["code"] == "token-missing"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "given", ["Bearer x", "Bearer at_0_0", "Basic YTpi", "Bearer", "Bearer " + "x" * 5000, "at_", "Bearer ../.."]
)
def test_what_is_no_token_of_ours_is_refused(http: TestClient, given: str) -> None:
    answer = http.get("/v1/releases", headers={"Authorization": given})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"] or answer.json()["code"] == "token-missing"


def test_two_authorizations_are_none(http: TestClient, store: FolderStore) -> None:
    good = tokens.issue_token(store, "ana", ["read"], 1)
    headers: Any = [("Authorization", f"Bearer {good}"), ("Authorization", "Bearer x")]
    assert http.get(f"/v1/sounds/{'0' * 64}", headers=headers).status_code == 401


def test_a_member_may_do_what_the_scopes_say(http: TestClient, store: FolderStore) -> None:
    reads, makes = tokens.issue_token(store, "ana", ["read"], 1), tokens.issue_token(store, "ana", ["generate"], 1)
    refused = http.post("/v1/generations", json=ASK, headers=bearer(reads))
    assert refused.status_code == 403
    assert refused.json()["code"] == "scope-missing"
    made = http.post("/v1/generations", json=ASK, headers=bearer(makes))
    assert made.status_code == 200
    assert http.get(f"/v1/sounds/{made.headers['x-audio-tune-sound']}", headers=bearer(makes)).status_code == 200


def test_a_revoked_token_ends_within_two_seconds(store: FolderStore, http: TestClient) -> None:
    text = tokens.issue_token(store, "ana", ["read"], 1)
    path = f"/v1/sounds/{'0' * 64}"
    assert http.get(path, headers=bearer(text)).status_code == 404
    tokens.revoke_token(store, text.split("_")[1])
    with pytest.raises(Exception, match="not valid"):
        tokens.check_token(store, text, "read", datetime.now(UTC) + timedelta(seconds=2))


def test_health_stays_open(http: TestClient) -> None:
    assert http.get("/v1/health").status_code in (200, 503)
    assert http.get("/metrics").status_code == 200
