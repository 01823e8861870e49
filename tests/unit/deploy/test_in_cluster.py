"""The requests of the chart's jobs to Kubernetes' API, against a server of our own: Secrets are made once and never replaced."""

from __future__ import annotations

import base64
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests import REPOSITORY

SCRIPT = REPOSITORY / "helm" / "audio-tune" / "files" / "in_cluster.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("in_cluster", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


in_cluster = _load()


class Kubernetes(BaseHTTPRequestHandler):
    """Secrets and volume claims of one namespace."""

    kept: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        found = self.kept.get(self.path.rpartition("band/")[2])
        self._answer(200 if found else 404, found or {"message": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = f"{self.path.rpartition('/')[2]}/{body['metadata']['name']}"
        if self.headers["Authorization"] != "Bearer good":
            self._answer(403, {"message": "no right"})
        elif key in self.kept:
            self._answer(409, {"message": "there"})
        else:
            self.kept[key] = body
            self._answer(201, body)

    def _answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Kubernetes.kept = {}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def api(server: str, token: str = "good") -> Any:
    return in_cluster.NamespaceApi(server, "band", token, patience_s=0)


def wanted(name: str = "login") -> dict[str, Any]:
    return {"name": name, "labels": {"a": "b"}, "data": {"accesskey": {"value": "admin"}, "secretkey": {"random": 40}}}


def plain(name: str) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in Kubernetes.kept[f"secrets/{name}"]["data"].items()}


def test_a_secret_is_made_once_and_stays(server: str) -> None:
    assert in_cluster.make_secrets(api(server), [wanted()]) == ["secret login made"]
    first = plain("login")
    assert first["accesskey"] == "admin"
    assert len(first["secretkey"]) == 40
    assert first["secretkey"].isalnum()
    assert in_cluster.make_secrets(api(server), [wanted()]) == ["secret login is there and stays"]
    assert plain("login") == first


def test_no_two_secrets_are_alike(server: str) -> None:
    in_cluster.make_secrets(api(server), [wanted("one"), wanted("two")])
    assert plain("one")["secretkey"] != plain("two")["secretkey"]


def test_nothing_secret_is_printed(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    in_cluster.prepare_namespace(api(server), {"volumes": [], "secrets": [wanted()]})
    assert plain("login")["secretkey"] not in capsys.readouterr().out


def test_a_refusal_is_reported(server: str) -> None:
    with pytest.raises(SystemExit, match="Kubernetes refuses making secrets login: no right"):
        in_cluster.make_secrets(api(server, token="bad"), [wanted()])


def test_an_absent_api_is_reported() -> None:
    with pytest.raises(SystemExit, match=r"does not answer .* network\.apiPorts"):
        in_cluster.make_secrets(api("http://127.0.0.1:9"), [wanted()])


@pytest.mark.parametrize(
    ("size", "storage_class", "words"),
    [("10Gi", "", ""), ("20Gi", "slow", ""), ("9Gi", "", "cannot shrink to 9Gi"), ("10Gi", "fast", "cannot change its class")],
)
def test_a_volume_may_grow_and_nothing_else(server: str, size: str, storage_class: str, words: str) -> None:
    spec = {"storageClassName": "slow", "resources": {"requests": {"storage": "10Gi"}}}
    Kubernetes.kept["persistentvolumeclaims/data"] = {"spec": spec}
    asked = {"claim": "data", "key": "database.bundled", "size": size, "storageClass": storage_class}
    faults = in_cluster.find_volume_faults(api(server), [asked])
    assert [words in fault for fault in faults] == ([True] if words else [])


def test_a_new_volume_may_be_anything(server: str) -> None:
    asked = {"claim": "data", "key": "k", "size": "1Gi", "storageClass": "fast"}
    assert in_cluster.find_volume_faults(api(server), [asked]) == []


def test_the_owners_file_is_kept_once(server: str, tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text("{}")
    in_cluster.save_as_secret(api(server), tmp_path / "owner.json", "first-owner")
    assert plain("first-owner") == {"owner.json": "{}"}
    with pytest.raises(SystemExit, match="is there already"):
        in_cluster.save_as_secret(api(server), tmp_path / "owner.json", "first-owner")


def test_without_a_file_there_is_nothing_to_keep(server: str, tmp_path: Path) -> None:
    in_cluster.save_as_secret(api(server), tmp_path / "owner.json", "first-owner")
    assert Kubernetes.kept == {}
