"""Which cluster the tests on a real one take, and why they are left out, without a cluster."""

from __future__ import annotations

import json
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipelines.recipe import load_recipe
from tests.e2e.cluster_access import CHART, ROOT, LabCluster, NamedCluster, find_cluster, find_lab, find_obstacle
from tests.e2e.cluster_namespace import ClusterNamespace
from tests.e2e.pipeline_run import RECIPE
from tests.fakes.http_server import answering


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "REGISTRY", "AUDIOTUNE_LAB", "IMAGES_OPTIONS", "LAB_HOME"):
        monkeypatch.delenv(name, raising=False)


def write_program(folder: Path, name: str, lines: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
    (folder / name).chmod(0o755)


def test_without_a_cluster_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        assert "set KUBECONFIG and REGISTRY (host/prefix" in find_obstacle()
        assert "or AUDIOTUNE_LAB" in find_obstacle()
        monkeypatch.setenv("KUBECONFIG", "config")  # alone it is anybody's cluster, maybe one in use
    assert find_obstacle(lab_only=True).startswith("this needs a lab (AUDIOTUNE_LAB)")


def test_a_named_cluster_must_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "config")
    monkeypatch.setenv("REGISTRY", "registry.home:5000/jam/")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_obstacle() == "kubectl and helm not on PATH"
    write_program(tmp_path, "helm", "exit 0")
    write_program(tmp_path, "kubectl", "echo 'connection refused' >&2; exit 1")
    assert find_obstacle() == "the cluster of KUBECONFIG does not answer: connection refused"
    write_program(tmp_path, "kubectl", "exit 0")
    assert find_obstacle() == ""
    assert find_cluster().registry == "registry.home:5000/jam"


def test_a_lab_comes_first_and_is_never_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "config")
    monkeypatch.setenv("REGISTRY", "registry.home:5000/jam")
    monkeypatch.setenv("AUDIOTUNE_LAB", str(tmp_path))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    assert find_obstacle() == f"no lab at {tmp_path}/lab (AUDIOTUNE_LAB names its folder)"
    write_program(tmp_path, "lab", "echo export KUBECONFIG=$LAB_HOME/admin.conf")
    assert find_obstacle().startswith(f"the lab is not set up ({tmp_path}/lab setup")
    (tmp_path / "home" / "pki").mkdir(parents=True)
    (tmp_path / "home" / "pki" / "done").touch()
    assert find_obstacle() in ("", "podman is not on PATH")
    lab = find_lab()
    assert lab is not None
    assert lab.read_environment()["KUBECONFIG"] == f"{tmp_path}/home/admin.conf"
    monkeypatch.setenv("AUDIOTUNE_LAB", str(tmp_path / "lab"))  # the program itself, as it was once
    assert isinstance(find_cluster(), LabCluster)


def test_images_come_from_the_named_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL only where it was copied there; without TLS only where that is asked for, or on this machine."""

    class Registry(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            there = self.path == "/v2/jam/postgres/manifests/15" and "oci.image.index" in self.headers["Accept"]
            self.send_response(200 if there else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Registry) as url:
        host = url.removeprefix("http://")
        monkeypatch.setenv("REGISTRY", f"{host}/jam")
        options = f"images.database.registry={host}/jam,images.database.name=postgres"
        assert NamedCluster().chart_options() == ["--set", options]
        assert NamedCluster().build_options() == ["--plain-http"]
        monkeypatch.setenv("REGISTRY", f"{host}/other")
        assert NamedCluster().chart_options() == []
    monkeypatch.setenv("REGISTRY", "registry.home/jam")
    assert NamedCluster().build_options() == []
    monkeypatch.setenv("IMAGES_OPTIONS", "--plain-http --base-image localhost/python:3.11")
    assert NamedCluster().build_options() == ["--plain-http", "--base-image", "localhost/python:3.11"]


def test_a_run_registers_what_the_chart_serves() -> None:
    """Both by their defaults: whoever fills in the form without a name gets a release that is served."""
    assert not load_recipe(RECIPE).settings_for("register")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert load_recipe(RECIPE).setting_value("register", "name") == values["generation"]["release"]["name"]


def test_only_the_checks_on_this_machine_know_a_lab_outside_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    naming = [name for name in listed if name and "shared/lab" in (ROOT / name).read_text(errors="ignore")]
    assert [name for name in naming if name != "tests/unit/e2e/test_cluster_access.py"] == [".ci/run"], json.dumps(naming)


def test_services_are_reached_by_a_forwarded_port_outside_of_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again, as after the end of a pod, it forwards anew and ends the port before; `delete` ends all."""
    lines = [
        'case "$*" in',
        "*port-forward*) echo $$ >> pids; echo Forwarding from 127.0.0.1:4$(wc -l < pids) '->' 9000; exec /bin/sleep 60;;",
        "esac",
    ]
    write_program(tmp_path, "kubectl", "\n".join([f"cd {tmp_path}", *lines]))
    monkeypatch.setenv("KUBECONFIG", "config")
    monkeypatch.setenv("REGISTRY", "registry.home/jam")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    namespace = ClusterNamespace("jam")
    assert namespace.open_address("store", 9000) == "http://127.0.0.1:41"
    first = int((tmp_path / "pids").read_text())
    assert namespace.open_address("store", 9000) == "http://127.0.0.1:42"
    second = int((tmp_path / "pids").read_text().split()[-1])
    assert (psutil.pid_exists(first), psutil.pid_exists(second)) == (False, True)
    namespace.delete()
    assert not psutil.pid_exists(second)


def test_services_of_a_lab_are_reached_by_their_own_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path, "lab", f"[ $1 != env ] || echo export PATH={tmp_path}:$PATH")
    write_program(
        tmp_path, "kubectl", """[ "$*" != "-n jam get service store -o json" ] || echo '{"spec": {"clusterIP": "10.96.0.7"}}'"""
    )
    monkeypatch.setenv("AUDIOTUNE_LAB", str(tmp_path))
    assert ClusterNamespace("jam").open_address("store", 9000) == "http://10.96.0.7:9000"
