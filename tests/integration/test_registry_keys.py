"""A real MLflow behind its keys: nobody without one, releases for the generation service's, everything for the pipelines'."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiotune.errors import RegistryError
from audiotune.registry import connection, releases
from audiotune.registry.mlflow_app import KeyedApp
from audiotune.registry.mlflow_server import KEY_FILE, TOKEN, run_mlflow_server
from audiotune.registry.runs import start_run
from tests.fakes.group_release import group

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
READ, NAME = "read-key-of-a-test-0000", "ours"


@dataclass(frozen=True)
class KeyedServer:
    """A server with one release; `keys` are the ways to come."""

    url: str
    folder: Path
    artifact: str
    run: str

    def ask(self, who: str, method: str, path: str, **given: Any) -> int:
        key = {"no key": "", "a wrong key": "x" * 40, "generation": READ, "pipelines": os.environ[TOKEN]}[who]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, **given).status_code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    folder = tmp_path_factory.mktemp("keyed")
    with run_mlflow_server(folder, read_key=READ) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", url)
        environment.delenv("MLFLOW_RUN_ID", raising=False)
        made = group(tmp_path_factory.mktemp("group"))
        registered = releases.register_release(made.release(made.pointer), {})
        releases.set_alias(NAME, "champion", registered.version)
        version = connection.get_mlflow_client().get_model_version(NAME, registered.version)
        place = version.source.removeprefix("mlflow-artifacts:/")
        yield KeyedServer(url, folder, f"/api/2.0/mlflow-artifacts/artifacts/{place}/release.json", version.run_id)


API = "/api/2.0/mlflow"
READS = {
    "find a release": ("GET", f"{API}/registered-models/get?name={NAME}", {}),
    "list releases": ("GET", f"{API}/registered-models/search?max_results=9", {}),
    "list versions": ("GET", f"{API}/model-versions/search?filter=name%3D%27{NAME}%27", {}),
    "read a version": ("GET", f"{API}/model-versions/get?name={NAME}&version=1", {}),
    "follow an alias": ("GET", f"{API}/registered-models/alias?name={NAME}&alias=champion", {}),
    "download a file": ("GET", "{artifact}", {}),
}
WRITES = {
    "move an alias": ("POST", f"{API}/registered-models/alias", {"json": {"name": NAME, "alias": "champion", "version": "1"}}),
    "create a version": ("POST", f"{API}/model-versions/create", {"json": {"name": NAME, "source": "mlflow-artifacts:/1/x"}}),
    "tag a version": (
        "POST",
        f"{API}/model-versions/set-tag",
        {"json": {"name": NAME, "version": "1", "key": "a", "value": "b"}},
    ),
    "rename": ("POST", f"{API}/registered-models/rename", {"json": {"name": "nobody", "new_name": "x"}}),
    "change a run": ("POST", f"{API}/runs/set-tag", {"json": {"run_id": "{run}", "key": "a", "value": "b"}}),
    "upload a file": ("PUT", "{artifact}.new", {"content": b"{}"}),
    "delete a file": ("DELETE", "{artifact}.new", {}),
    "delete an alias": ("DELETE", f"{API}/registered-models/alias", {"json": {"name": NAME, "alias": "nothing"}}),
    "delete a version": ("DELETE", f"{API}/model-versions/delete", {"json": {"name": NAME, "version": "99"}}),
    "delete a release": ("DELETE", f"{API}/registered-models/delete", {"json": {"name": "nobody"}}),
    "search runs": ("POST", f"{API}/runs/search", {"json": {"experiment_ids": ["0"], "max_results": 1}}),
    "call a webhook": ("POST", f"{API}/webhooks", {"json": {"name": "x", "url": "http://x", "events": []}}),
    "the page": ("GET", "/", {}),
    "the page's query": ("POST", "/graphql", {"json": {"query": "{ __typename }"}}),
    "the page's query by GET": ("GET", "/graphql?query=%7B__typename%7D", {}),
    "the page's upload": ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x", {"content": b"x"}),
    "the gateway": ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=x", {}),
}
MAY = {"no key": (401, 401), "a wrong key": (401, 401), "generation": (None, 403), "pipelines": (None, None)}


@pytest.mark.parametrize("who", MAY)
@pytest.mark.parametrize("what", [*READS, *WRITES])
def test_each_key_and_each_request(server: KeyedServer, who: str, what: str) -> None:
    method, path, given = {**READS, **WRITES}[what]
    places = {"{artifact}": server.artifact, "{run}": server.run}
    path = functools.reduce(lambda text, place: text.replace(*place), places.items(), path)
    if "json" in given:
        given = {"json": {name: places.get(str(value), value) for name, value in given["json"].items()}}
    found, refused = server.ask(who, method, path, **given), MAY[who][what in WRITES]
    if refused:
        assert found == refused
    else:
        assert found not in (401, 403)
        assert found == 200 or what in WRITES, "what is read is there"


def test_health_tells_everybody_that_it_runs(server: KeyedServer) -> None:
    assert httpx.get(f"{server.url}/health").text == "OK"


def test_nothing_changed_but_by_the_pipelines_key(server: KeyedServer) -> None:
    for what in WRITES:
        for who in ("no key", "generation"):
            test_each_key_and_each_request(server, who, what)
    assert releases.list_aliases(NAME)["champion"] == "1"


def test_the_generation_service_needs_no_more_than_its_key(server: KeyedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    releases._read_artifact.cache_clear()
    monkeypatch.setenv(TOKEN, READ)
    assert NAME in releases.list_release_names()
    assert releases.find_version_by_alias(NAME, "champion") == "1"
    assert releases.find_version_by_alias(NAME, "nothing") is None
    assert releases.list_aliases(NAME)["champion"] == "1"
    assert releases.read_release(NAME, "1") in releases.list_releases(NAME)
    assert releases.find_release(NAME, "999") is None
    assert releases.list_adapters(NAME) == []
    for write in (lambda: releases.set_alias(NAME, "champion", "1"), lambda: start_run("an experiment", "a run")):
        with pytest.raises(RegistryError, match="MLFLOW_TRACKING_TOKEN to a key of this registry that may write"):
            write()


def test_without_a_key_the_cure_is_told(server: KeyedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN)
    with pytest.raises(RegistryError, match=r"Set MLFLOW_TRACKING_TOKEN to a key of this registry;"):
        releases.list_release_names()


def test_a_browser_gets_the_page_by_password(server: KeyedServer) -> None:
    assert httpx.get(server.url, auth=("anybody", os.environ[TOKEN])).status_code == 200
    assert httpx.get(server.url, auth=("anybody", READ)).status_code == 403
    assert httpx.get(server.url).headers["www-authenticate"].startswith("Basic ")


def test_the_key_lies_beside_the_database_for_its_owner_alone(server: KeyedServer) -> None:
    file = server.folder / KEY_FILE
    assert file.read_text().strip() == os.environ[TOKEN]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.environ[TOKEN] not in (server.folder / "server.log").read_text()


def test_a_readers_key_passes_no_route_of_mlflow_that_is_not_listed() -> None:
    """Of all routes that this MLflow has, whatever the method."""
    from mlflow.server import app

    door = KeyedApp(app, [], [READ])
    headers = [(b"authorization", f"Bearer {READ}".encode())]
    passed = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"OPTIONS"}
        if door._find_refusal({"type": "http", "method": method, "path": rule.rule, "headers": headers}) is None
    }
    assert {method for method, _ in passed} == {"GET", "HEAD"}
    assert {rule for _, rule in passed} == {
        "/health", "/version", "/api/3.0/mlflow/server-info", f"{API}/registered-models/search", f"{API}/registered-models/get",
        f"{API}/registered-models/alias", f"{API}/model-versions/search", f"{API}/model-versions/get", f"{API}/runs/get",
        f"{API}/artifacts/list", "/api/2.0/mlflow-artifacts/artifacts", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>",
    }  # fmt: skip
