"""Uploading, running, following and cancelling over Kubeflow's REST API, against a fake of it behind real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import PipelineError, RunFailedError, RunUnfinishedError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.kubeflow_runs import find_failure_line
from audiotune.runs.kubeflow_runner import KubeflowRunner
from audiotune.runs.port import follow_run
from pipelines.chart import FOLDER
from pipelines.documents import read_documents
from pipelines.submit import main, upload_documents
from tests.fakes.kubeflow import FakeKubeflow, serving

LOG = """[ 40%] counting
Traceback (most recent call last):
ingest: take.wav is silent. Play louder
I1123 12:00:01.000001      14 launcher_v2.go:151] publish success.
F1123 12:00:01.100001      14 main.go:49] failed to execute component: exit status 1
time="2026-11-23T12:00:01.200Z" level=info msg="sub-process exited" argo=true error="<nil>"
Error: exit status 1
"""


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    return read_documents(FOLDER / "prepare.yaml")


def facts(folder: Path) -> str:
    digest = "@sha256:" + "7" * 64
    path = folder / "cluster.json"
    images = {"prepare": f"home/audio-tune/prepare{digest}", "train": f"home/audio-tune/train{digest}"}
    path.write_text(json.dumps({"store": "s3://jam", "images": images, "recipe": "demo", "service_account": "runner"}))
    return str(path)


def test_same_content_makes_one_version(documents: list[dict[str, Any]]) -> None:
    fake = FakeKubeflow()
    with serving(fake) as url:
        first = upload_documents(Kubeflow(url), documents)
        assert upload_documents(Kubeflow(url), documents) == first
        assert fake.uploads == 1
        for n in range(4):  # more versions than one page shows
            documents[0]["pipelineInfo"]["description"] = f"changed {n}"
            assert upload_documents(Kubeflow(url), documents) != first
        assert upload_documents(Kubeflow(url), documents)[1] == "v-5"
        assert fake.uploads == 5


def test_uploading_all_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeKubeflow()
    with serving(fake) as url:
        flags = ["upload", "--endpoint", url, "--for-cluster", facts(tmp_path), "--pipelines", str(FOLDER)]
        assert main(flags) == 0
        assert sorted(fake.pipelines) == ["audio-tune-full", "audio-tune-prepare", "audio-tune-tune"]
        assert main(flags) == 0
        assert fake.uploads == 3
    assert capsys.readouterr().out.count("is there already") == 3


def test_run_carries_typed_parameters_and_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeKubeflow(("PENDING", "RUNNING", "SUCCEEDED"))
    with serving(fake) as url:
        flags = ["run", "tune", "--endpoint", url, "--for-cluster", facts(tmp_path), "--pipelines", str(FOLDER)]
        assert main([*flags, "--set", "training_seed=3", "--every-s", "0.01"]) == 0
    body = fake.runs["r-1"]["body"]
    assert body["runtime_config"] == {"parameters": {"training_seed": 3}}
    assert body["service_account"] == "runner"
    assert capsys.readouterr().out.splitlines()[2:] == ["ingest: PENDING", "ingest: RUNNING", "ingest: SUCCEEDED", "SUCCEEDED"]


def test_runs_of_a_group_stand_in_one_experiment_of_its_namespace(tmp_path: Path) -> None:
    fake = FakeKubeflow(("SUCCEEDED",), multi_user=True)
    with serving(fake) as url:
        flags = ["run", "prepare", "--endpoint", url, "--for-cluster", facts(tmp_path), "--pipelines", str(FOLDER)]
        for _ in range(2):
            assert main([*flags, "--namespace", "jam"]) == 0
    assert fake.experiments == [{"display_name": "audio-tune", "namespace": "jam", "experiment_id": "e-1"}]
    assert {run["body"]["experiment_id"] for run in fake.runs.values()} == {"e-1"}


@pytest.mark.parametrize(
    ("log", "error", "reason"),
    [
        (LOG, "", "ingest: take.wav is silent. Play louder"),
        (None, "", "ingest failed; the last line of its log says why"),
        ("OOMKilled by the node\n", "", "ingest: OOMKilled by the node"),
        (LOG, "retry exceeded workflow deadline 2026-11-23", "the run was ended by hand"),
    ],
)
def test_failed_run_tells_why_in_one_sentence(log: str | None, error: str, reason: str) -> None:
    fake = FakeKubeflow(("FAILED",), error=error, log=log)
    fake.runs["r-1"] = {"body": {}, "looks": 0}
    with serving(fake) as url, pytest.raises(RunFailedError) as e:
        follow_run(KubeflowRunner(Kubeflow(url)), "r-1", print, every_s=0.01)
    assert e.value.what == reason


@pytest.mark.parametrize(
    ("endpoint", "pages", "page"),
    [
        ("https://kubeflow.example/pipeline", "", "https://kubeflow.example/pipeline/#/runs/details/r-1"),
        ("http://ml-pipeline.kubeflow:8888", "", ""),  # the API server answers 404 there
        ("http://ml-pipeline.kubeflow:8888", "http://localhost:8080/", "http://localhost:8080/#/runs/details/r-1"),
    ],
)
def test_a_runs_page_is_named_only_where_it_is(endpoint: str, pages: str, page: str) -> None:
    assert Kubeflow(endpoint, pages=pages).run_page("r-1") == page


def test_where_no_log_is_left_kubernetes_has_the_word() -> None:
    fake = FakeKubeflow(("FAILED",), message="main: OOMKilled (exit code 137)")
    fake.runs["r-1"] = {"body": {}, "looks": 0}
    with serving(fake) as url, pytest.raises(RunFailedError, match="^ingest: main: OOMKilled"):
        follow_run(KubeflowRunner(Kubeflow(url)), "r-1", print, every_s=0.01)


def test_a_step_that_waits_for_a_machine_says_for_what() -> None:
    fake = FakeKubeflow(("PENDING",), message="Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    fake.runs["r-1"] = {"body": {}, "looks": 0}
    with serving(fake) as url:
        assert Kubeflow(url).step_progress("r-1", "ingest") == (0.0, fake.message)


def test_last_words_are_ours_before_the_launchers() -> None:
    assert find_failure_line(LOG) == "ingest: take.wav is silent. Play louder"
    assert find_failure_line("[ 10%] so far\n\n") == ""


def test_exit_codes_are_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeKubeflow(("FAILED",), log=LOG, token="right")
    fake.runs["r-1"] = {"body": {}, "looks": 0}
    with serving(fake) as url:
        right = ["--endpoint", url, "--token", "right"]
        assert main(["follow", "r-1", *right]) == 1
        assert "take.wav is silent" in capsys.readouterr().err
        assert main(["follow", "r-2", *right]) == 1
        assert main(["follow", "r-1", "--endpoint", url, "--token", "wrong"]) == 3
        assert "refuses this user" in capsys.readouterr().err
        fake.states = ("RUNNING",)
        assert main(["follow", "r-1", *right, "--every-s", "0.01", "--limit-s", "0.05"]) == 4
        assert main(["cancel", "r-1", *right]) == 0
        assert fake.ended == ["r-1"]
        flags = [*right, "--for-cluster", facts(tmp_path), "--pipelines", str(FOLDER)]
        assert main(["run", "full", *flags, "--set", "colour=red"]) == 2
        assert main(["upload", *flags[:4], "--pipelines", str(tmp_path)]) == 1
    assert main(["follow", "r-1", "--endpoint", "http://127.0.0.1:9"]) == 3
    assert "does not answer" in capsys.readouterr().err
    assert main(["follow", "r-1"]) == 2


def test_what_answers_may_be_no_kubeflow() -> None:
    with serving(FakeKubeflow(("RUNNING",))) as url, pytest.raises(PipelineError):
        Kubeflow(f"{url}/elsewhere").health()


def test_run_that_never_ends_is_given_up() -> None:
    fake = FakeKubeflow(("RUNNING",))
    fake.runs["r-1"] = {"body": {}, "looks": 0}
    with serving(fake) as url, pytest.raises(RunUnfinishedError, match="did not end"):
        follow_run(KubeflowRunner(Kubeflow(url)), "r-1", print, every_s=0.01, limit_s=0.1)


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("kfp", "kubernetes", "torch", "numpy", "boto3"):
            raise ImportError(name + " is not in this image")
sys.meta_path.insert(0, Blocked())
from {module} import main
sys.exit(main({argv}))
"""


def without_kfp(module: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a verb as the image `prepare` would: kfp is not there."""
    code = BLOCKED.format(module=module, argv=argv)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_the_charts_job_needs_no_kfp(tmp_path: Path) -> None:
    fake = FakeKubeflow()
    with serving(fake) as url:
        flags = ["upload", "--endpoint", url, "--for-cluster", facts(tmp_path)]
        done = without_kfp("pipelines.submit", [*flags, "--pipelines", str(FOLDER)])
        assert (done.returncode, done.stderr) == (0, "")
        assert fake.uploads == 3
        lost = without_kfp("pipelines.submit", flags)
    assert lost.returncode == 1
    assert "AUDIOTUNE_PIPELINES" in lost.stderr
