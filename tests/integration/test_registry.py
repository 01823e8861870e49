"""The registry client against a real MLflow: a server process, and the SQLite file it uses by itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audiotune.domain.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.errors import RegistryError
from audiotune.registry import connection, releases
from audiotune.registry.mlflow_server import run_mlflow_server
from audiotune.registry.runs import start_run

pytestmark = pytest.mark.integration


def a_release(digest: str = "a" * 64, *, passed: bool = True) -> Release:
    weights = WeightsPointer(
        weights=f"blobs/sha256/aa/{digest}.safetensors",
        weights_digest=digest,
        config="blobs/c",
        base="tiny",
        base_digest="b" * 64,
        dataset="d" * 64,
        step=30,
    )
    lineage = Lineage(
        dataset="d" * 64,
        segments=("e" * 64,),
        recordings={"f" * 64: ("ana",)},
        base="tiny",
        base_digest="b" * 64,
        agreement="9" * 64,
    )
    evaluation = Evaluation(metrics={"kad_after": 0.5}, passed=passed, reasons=() if passed else ("it copies",))
    return Release(name="ours", weights=weights, lineage=lineage, licence="x", notice="", evaluation=evaluation)


@pytest.fixture(params=["server", "sqlite"])
def mlflow(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    if request.param == "sqlite":
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("AUDIOTUNE_STORE", str(tmp_path / "store"))
        yield
        return
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_server"))
    yield


@pytest.mark.usefixtures("mlflow")
def test_a_release_lives_in_mlflow(tmp_path: Path) -> None:
    run = start_run("training", "first", {"steps": 3})
    for step in range(250):
        run.log_metrics({"loss": 1 / (step + 1)}, step)
    run.end()
    assert len(connection.get_mlflow_client().get_metric_history(run.id, "loss")) == 250
    card = tmp_path / "card.md"
    card.write_text("# Card")

    assert releases.find_version_by_alias("ours", "candidate") is None
    assert releases.list_releases("ours") == []
    first = releases.register_release(a_release(), {"card.md": card, "docs/notice.txt": card}, run.id)
    assert first.version == "1"
    assert releases.register_release(a_release(), {}, run.id) == first, "the same weights again are the same version"
    second = releases.register_release(a_release("c" * 64, passed=False), {"card.md": card}, run.id)
    assert second.version == "2"

    releases.set_alias("ours", "candidate", "2")
    releases.set_alias("ours", "champion", "1")
    assert releases.read_release("ours", releases.find_version_by_alias("ours", "candidate") or "") == second
    assert releases.find_version_by_alias("ours", "champion") == "1"
    assert releases.list_aliases("ours") == {"candidate": "2", "champion": "1"}
    assert [r.version for r in releases.list_releases("ours")] == ["2", "1"]
    assert releases.read_release("ours", "1") == first
    version = connection.get_mlflow_client().get_model_version("ours", "2")
    assert version.tags["gate"] == "it copies"
    assert {f.path for f in connection.get_mlflow_client().list_artifacts(run.id, f"release/{'a' * 16}")} >= {
        f"release/{'a' * 16}/card.md"
    }

    again = start_run("training", "first", run_id=run.id)
    assert again.id == run.id
    assert start_run("training", "first", run_id="0" * 32).id != run.id
    with pytest.raises(RegistryError, match="version 7"):
        releases.read_release("ours", "7")


def test_a_dead_registry_is_reported_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI"):
        start_run("training", "first")
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9"):
        releases.find_version_by_alias("ours", "champion")


def test_training_outlives_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_mlflow_server(tmp_path) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        run = start_run("training", "orphan")
    for step in range(150):
        run.log_metrics({"loss": 1.0}, step)  # warns, does not raise
    with pytest.raises(RegistryError):
        run.end()


def test_no_registry_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("AUDIOTUNE_STORE", "s3://bucket/place")
    with pytest.raises(RegistryError, match="no MLflow is named"):
        connection.tracking_uri()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(RegistryError, match="is taken"), run_mlflow_server(tmp_path, holder.getsockname()[1]):
            pass


class StoreOutOfReach(BaseHTTPRequestHandler):
    """An MLflow that offers its store's own address for every file; nobody listens there, only MLflow itself has the file."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "server-info" in self.path:
            self._answer(json.dumps({"multipart_downloads_enabled": True}).encode())
        elif "/presigned/" in self.path:
            self._answer(json.dumps({"url": "http://127.0.0.1:1/store", "headers": {}, "file_size": 5}).encode())
        elif "?path=" in self.path:
            self._answer(b'{"files": []}')
        else:
            self._answer(b"whole")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_files_come_through_mlflow_not_from_an_address_of_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StoreOutOfReach)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    try:
        connection.get_mlflow_client()
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository("mlflow-artifacts:/1/run/artifacts", tracking_uri=address)
        assert Path(repository.download_artifacts("release.json", str(tmp_path))).read_text() == "whole"
    finally:
        server.shutdown()
        server.server_close()
    assert not [path for path in StoreOutOfReach.asked if "presigned" in path]
