"""The notes of `helm install`: bash runs the printed commands here, with a kubectl that only records them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.rendered_chart import notes

KFP = {"kfp": {"mode": "single-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}}
# a file for each call: those of a pipe run side by side
KUBECTL = """#!/bin/sh
{ echo "$*"; case "$*" in *"apply -f -"|*"/dev/stdin") cat;; esac; } > "$NOTED/$$"
case "$*" in *" get secret "*) echo '{"a": "Secret"}';; esac
"""


def run(folder: Path, script: str) -> list[str]:
    """What bash makes of it: each call of kubectl with what came on its stdin, in no order."""
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    noted = folder / "noted"
    noted.mkdir()
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "NOTED": str(noted)}
    done = subprocess.run(["bash", "-eu", "-c", script], env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return [call.read_text().strip() for call in noted.iterdir()]


def part(text: str, first: str, last: str) -> str:
    """The lines from one that holds `first` to the next that holds `last`."""
    lines = text.splitlines()
    begin = next(n for n, line in enumerate(lines) if first in line)
    return "\n".join(lines[begin : next(n for n in range(begin, len(lines)) if last in lines[n]) + 1])


def test_the_first_owner_is_shown_and_then_forgotten(tmp_path: Path) -> None:
    gone, shown = sorted(run(tmp_path, part(notes(), "get secret audio-tune-first-owner", "delete secret")))
    assert (
        shown == """-n audio-tune get secret audio-tune-first-owner -o go-template={{index .data "owner.json" | base64decode}}"""
    )
    assert gone == "-n audio-tune delete secret audio-tune-first-owner"


@pytest.mark.parametrize("port", ["7860", "3000"])
def test_a_line_can_be_copied_with_its_address(tmp_path: Path, port: str) -> None:
    line = next(line for line in notes().splitlines() if "port-forward" in line and f" {port} " in line)
    assert "localhost" in line
    assert run(tmp_path, line)[0].endswith(f" {port}")


def test_the_launchers_patch_and_the_key_can_be_pasted(tmp_path: Path) -> None:
    calls = run(tmp_path, part(notes(KFP), "patch configmap kfp-launcher", "apply -f -"))
    patch, secret, applied = sorted(calls, key=lambda call: ("patch" not in call, "get secret" not in call))
    words, _, document = patch.partition("\n")
    assert words == "-n kubeflow patch configmap kfp-launcher --type merge --patch-file /dev/stdin"
    data = yaml.safe_load(document)["data"]
    assert data["defaultPipelineRoot"] == "s3://audio-tune/kfp"
    assert yaml.safe_load(data["providers"])["s3"]["default"]["endpoint"] == "audio-tune-object-store.audio-tune.svc:9000"
    template = json.loads(secret.partition("go-template=")[2])
    assert template["metadata"] == {"name": "audio-tune-store-pipelines"}
    assert template["data"] == {"accesskey": "{{.data.accesskey}}", "secretkey": "{{.data.secretkey}}"}
    assert applied.startswith("-n kubeflow apply -f -")


def test_the_key_of_the_governance_service_goes_to_kubeflows_namespace(tmp_path: Path) -> None:
    calls = run(tmp_path, part(notes(KFP), "get secret audio-tune-governance-ingest", "apply -f -"))
    read, applied = sorted(calls, key=lambda call: "get secret" not in call)
    template = json.loads(read.partition("go-template=")[2])
    assert template["metadata"] == {"name": "audio-tune-governance-ingest"}
    assert template["data"] == {"key": "{{.data.key}}"}
    assert applied.startswith("-n kubeflow apply -f -")
