"""Tokens in front of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from audiotune.access import tokens
from audiotune.errors import ConsentError
from audiotune.store import FolderStore
from tests.fakes.in_process_service import InProcessService, until
from tests.fakes.memory_store import MemoryStore

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


def test_health_tells_strangers_a_class_of_reason_and_who_may_move_releases_all_of_it(store: FolderStore) -> None:
    bench = InProcessService(store, members=True)
    bench.loaded()
    heads = {scope: bearer(tokens.issue_token(store, "ana", [scope], 1)) for scope in ("read", "generate", "releases", "admin")}
    for head in ({}, bearer("x"), heads["read"], heads["generate"]):
        answer = bench.client.get("/v1/health", headers=head)
        assert answer.status_code == 200
        assert set(answer.json()) == {"ready", "reason", "reason_class", "max_seconds", "samplers", "defaults"}
    assert bench.client.get("/v1/health", headers=heads["releases"]).json()["releases"][0]["version"] == "1"
    bench.models.withdrawn = ConsentError("ana has withdrawn recording s3://secret-bucket/take-9")
    until(lambda: bench.client.get("/v1/health").status_code == 503)
    told = bench.client.get("/v1/health").json()
    assert told == {"ready": False, "reason": "a release was withdrawn", "reason_class": "withdrawn"}
    for scope in ("releases", "admin"):
        assert "secret-bucket" in bench.client.get("/v1/health", headers=heads[scope]).json()["reason"]
    assert 'audio_tune_trouble{reason="withdrawn"} 1.0' in bench.client.get("/metrics").text
    bench.stop()


def test_what_withdraws_a_release_is_logged(store: FolderStore, caplog: pytest.LogCaptureFixture) -> None:
    bench = InProcessService(store, members=True)
    bench.loaded()
    bench.models.withdrawn = ConsentError("ana has withdrawn")
    until(lambda: "patch-bay is not served any more: ana has withdrawn" in caplog.text)
    bench.stop()


def test_an_outage_is_not_explained_to_who_has_shown_no_token() -> None:
    store = MemoryStore()
    bench = InProcessService(store, members=True)
    bench.loaded()
    good = bearer(tokens.issue_token(store, "ana", ["generate"], 1))
    store.away = True
    answer = bench.client.get("/v1/jobs", headers=bearer("at_" + "0" * 16 + "_" + "a" * 43))
    assert (answer.status_code, answer.json()["detail"]) == (503, "the service cannot answer now. Its log says why")
    assert bench.client.get("/v1/health", headers=good).status_code == 200
    store.away = False
    assert bench.client.get("/v1/jobs", headers=good).status_code == 200
    store.away = True
    assert "the store does not answer" in bench.client.get("/v1/jobs", headers=good).json()["detail"]
    store.away = False
    bench.stop()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda bench: bench.context.stopping.set(), "stopping"),
        (lambda bench: setattr(bench.loaded_releases, "exhausted", True), "memory-full"),
        (lambda bench: bench.loaded_releases.trouble.update({"patch-bay": "its newest version is broken"}), "release"),
    ],
)
def test_the_classes_of_reason(store: FolderStore, change: Any, kind: str) -> None:
    bench = InProcessService(store, members=True, poll_s=60)
    assert bench.client.get("/v1/health").json()["reason_class"] in ("", "loading")
    bench.loaded()
    until(lambda: bench.client.get("/v1/health").json()["reason_class"] == "")
    change(bench)
    assert bench.client.get("/v1/health").json()["reason_class"] == kind
    bench.stop()
