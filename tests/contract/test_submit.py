"""Uploading, running and following over Kubeflow's REST API, against a fake of it behind real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from audiotune.errors import PipelineError
from pipelines.compile import compiled
from pipelines.recipe import load_recipe
from pipelines.submit import Kubeflow, main
from tests.fakes.kubeflow import FakeKubeflow, serving


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return compiled("prepare", load_recipe("first_release"))


def test_same_content_makes_one_version(documents: list[dict[str, Any]]) -> None:
    fake = FakeKubeflow()
    with serving(fake) as url:
        first = Kubeflow(url).upload(documents)
        assert Kubeflow(url).upload(documents) == first
        assert fake.uploads == 1
        for n in range(4):  # more versions than one page shows
            documents[0]["pipelineInfo"]["description"] = f"changed {n}"
            assert Kubeflow(url).upload(documents) != first
        assert Kubeflow(url).upload(documents)[1] == "v-5"
        assert fake.uploads == 5


def test_run_carries_typed_parameters_and_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeKubeflow(("PENDING", "RUNNING", "SUCCEEDED"))
    with serving(fake) as url:
        told: list[str] = []
        server = Kubeflow(url)
        documents = compiled("tune", load_recipe("demo"))
        run = server.run(*server.upload(documents), "try", {"steps": 3})
        assert server.follow(run, told.append, every_s=0.01) == "SUCCEEDED"
    assert fake.runs[run]["body"]["runtime_config"] == {"parameters": {"steps": 3}}
    assert told == ["ingest: PENDING", "ingest: RUNNING", "ingest: SUCCEEDED"]


def test_failed_run_tells_why() -> None:
    with serving(FakeKubeflow(("FAILED",), error="segment: no sound")) as url:
        server = Kubeflow(url)
        run = server.run(*server.upload(compiled("prepare", load_recipe("demo"))), "try", {})
        with pytest.raises(PipelineError, match="segment: no sound"):
            server.follow(run, print, every_s=0.01)


def test_run_that_never_ends_is_given_up() -> None:
    with serving(FakeKubeflow(("RUNNING",))) as url:
        server = Kubeflow(url)
        run = server.run(*server.upload(compiled("prepare", load_recipe("demo"))), "try", {})
        with pytest.raises(PipelineError, match="did not end"):
            server.follow(run, print, every_s=0.01, timeout_s=0.1)


def test_dead_server_and_wrong_token_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeKubeflow(token="right")) as url:
        assert main(["prepare", "--recipe", "demo", "--endpoint", url, "--token", "wrong"]) == 1
        assert "refuses this user" in capsys.readouterr().err
        assert main(["prepare", "--recipe", "demo", "--endpoint", url, "--token", "right", "--upload-only"]) == 0
    assert main(["prepare", "--recipe", "demo", "--endpoint", "http://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err
