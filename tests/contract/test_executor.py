"""The one seam to Kubeflow, against what a real 2.17.0 backend passed in and refused.

The shapes below are those of a recorded run: input artifacts have lost their type, `executor-logs` and parameters that nobody
declared come along, a parameter that defaults to None is absent, and a null in metadata or a changed uri fails a finished step.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.release import TrainingRecord
from audiotune.store import FolderStore
from components import executor
from components.executor import SettingsError, build_parser, run_command_line, validate_settings
from pipelines.recipe import STEPS
from tests.fakes.toy_step import settings as toy_settings
from tests.fakes.withdrawal_group import make_withdrawal_group

RECORDED = Path(__file__).parent / "recorded"
TOY = "tests.fakes.toy_step"
SESSION = '{"Provider":"s3","Params":{"endpoint":"minio.kubeflow.svc.cluster.local:9000","secretName":"audiotune-store"}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUDIOTUNE_STORE", str(tmp_path / "store"))
    (tmp_path / "model").write_text("one\ntwo\nthree\n")
    return tmp_path


def recorded(folder: Path, **parameters: Any) -> dict[str, Any]:
    """ExecutorInput as the launcher filled it in on a cluster, with paths of this machine."""
    root = f"file://{folder}/kfp/audiotune-probe/ffde30c8/report/94e27188"
    page = {"name": "page", "type": {"schemaTitle": "system.HTML", "schemaVersion": "0.0.1"}, "uri": f"{root}/page"}
    numbers = {"name": "metrics", "type": {"schemaTitle": "system.Metrics", "schemaVersion": "0.0.1"}, "uri": f"{root}/metrics"}
    logs = {"name": "executor-logs", "type": {"schemaTitle": "system.Artifact"}, "uri": f"{root}/executor-logs-0"}
    model = {
        "name": "121",
        "type": {"instanceSchema": ""},
        "uri": str(folder / "model"),
        "metadata": {"cfg": {"struct": {"a": [1, 2]}}, "ok": 1, "store_session_info": SESSION},
    }
    return {
        "inputs": {
            "artifacts": {"model": {"artifacts": [model]}},
            "parameterValues": {"pipelinechannel--gpus": "0", "accelerator_count": "0", **parameters},
        },
        "outputs": {
            "artifacts": {
                "executor-logs": {"artifacts": [logs]},
                "metrics": {"artifacts": [numbers]},
                "page": {"artifacts": [page]},
            },
            "parameters": {
                "lines": {"outputFile": f"{folder}/outputs/lines"},
                "key": {"outputFile": f"{folder}/outputs/key"},
            },
            "outputFile": f"{folder}/kfp/audiotune-probe/ffde30c8/report/94e27188/output_metadata.json",
        },
    }


def play(given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    code = run_command_line(TOY, ["--executor-input", json.dumps(given)])
    written = Path(given["outputs"]["outputFile"])
    return code, json.loads(written.read_text()) if written.exists() else {}


def test_only_declared_outputs_are_written_back(folder: Path) -> None:
    given = recorded(folder)
    code, said = play(given)
    assert code == 0
    assert set(said["artifacts"]) == {"page", "metrics"}  # executor-logs is the backend's own
    assert said["parameterValues"] == {"lines": 3, "key": "manifests/x"}
    for name, artifact in said["artifacts"].items():
        before = given["outputs"]["artifacts"][name]["artifacts"][0]
        (after,) = artifact["artifacts"]
        assert (after["uri"], after["type"], after["name"]) == (before["uri"], before["type"], before["name"])


def test_metadata_holds_no_null_and_metrics_are_metadata(folder: Path) -> None:
    _, said = play(recorded(folder))
    assert said["artifacts"]["page"]["artifacts"][0]["metadata"] == {"lines": 3}
    assert said["artifacts"]["metrics"]["artifacts"][0]["metadata"] == {"loss": 0.25}
    assert None not in said["artifacts"]["page"]["artifacts"][0]["metadata"].values()


def test_what_the_backend_refuses_is_left_out_at_any_depth() -> None:
    """A null anywhere, or a number that is none, fails a step after its work."""
    import numpy as np

    facts = {"a": None, "b": {"c": None, "d": [1, None, float("inf")]}, "loss": np.float32(0.5), "n": np.int64(3), "ok": True}
    assert executor._drop_unaccepted(facts) == {"b": {"d": [1]}, "loss": 0.5, "n": 3, "ok": True}
    assert json.loads(json.dumps(executor._drop_unaccepted(facts), allow_nan=False))


def test_output_parameters_are_files_too(folder: Path) -> None:
    play(recorded(folder))
    assert (folder / "outputs" / "lines").read_text() == "3"
    assert (folder / "outputs" / "key").read_text() == "manifests/x"  # text as it is, not as JSON


def test_output_parameter_the_pipeline_does_not_use_is_left_out(folder: Path) -> None:
    given = recorded(folder)
    del given["outputs"]["parameters"]["key"]
    assert play(given)[1]["parameterValues"] == {"lines": 3}


def test_run_form_wins_over_the_compiled_settings(folder: Path) -> None:
    given = recorded(folder, settings={"word": "pluck", "loudness_lufs": -30.0, "people": ["ana"]}, loudness_lufs=-23)
    play(given)
    page = Path(given["outputs"]["artifacts"]["page"]["artifacts"][0]["uri"].removeprefix("file://"))
    assert page.read_text() == "<!doctype html><p>pluck -23.0 ana"


@pytest.mark.parametrize("settings", [None, {}, "absent"])
def test_absent_and_none_mean_the_default(folder: Path, settings: Any) -> None:
    given = recorded(folder, word=None, **({} if settings == "absent" else {"settings": settings}))
    assert play(given)[0] == 0
    assert "drone -18.0" in (folder / "kfp/audiotune-probe/ffde30c8/report/94e27188/page").read_text()


def test_whole_numbers_come_as_floats_from_the_local_runner(folder: Path) -> None:
    class Counted(executor.StepSettings):
        steps: int = 1

    assert validate_settings(Counted, {"steps": 20.0}).model_dump() == {"steps": 20}


def test_the_last_line_on_stderr_is_the_whole_story(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(recorded(folder, fail="ours"))
    assert (code, said) == (1, {})  # a failed step publishes nothing
    assert capsys.readouterr().err.splitlines() == ["toy_step: it is silent in take.wav. Play louder"]


def test_a_bug_shows_its_trace_and_then_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(recorded(folder, fail="bug"))[0] == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "toy_step: ZeroDivisionError: nobody thought of this"


def test_every_setting_out_of_bounds_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(recorded(folder, loudness_lufs=3, word=5))[0] == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "loudness_lufs" in last
    assert "word" in last


def test_missing_artifact_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = recorded(folder)
    del given["inputs"]["artifacts"]["model"]
    assert play(given)[0] == 1
    assert "'model' is missing" in capsys.readouterr().err


def test_executor_input_that_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(TOY, ["--executor-input", "{{$}}"]) == 1
    assert "no JSON" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://audiotune/kfp/run/page", "/s3/audiotune/kfp/run/page"),
        ("minio://bucket/page", "/minio/bucket/page"),
        ("gs://bucket/page", "/gcs/bucket/page"),
        ("file:///tmp/page", "/tmp/page"),
        ("/tmp/page", "/tmp/page"),
    ],
)
def test_where_the_launcher_keeps_files(uri: str, path: str) -> None:
    assert executor._local_path(uri) == path


def test_the_command_line_runs_the_same_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, store = folder / "by" / "hand.html", folder / "other"
    flags = ["--model", str(folder / "model"), "--page", str(page), "--store", str(store), "--metrics", str(folder / "m")]
    assert run_command_line(TOY, [*flags, "--loudness-lufs", "-20", "--people", '["ana", "ben"]']) == 0
    assert page.read_text().endswith("drone -20.0 ana,ben")
    assert (store / "counted").read_text() == "3"
    assert '"lines": 3' in capsys.readouterr().out


def test_help_lists_settings_with_their_defaults() -> None:
    text = build_parser(TOY, toy_settings).format_help()
    assert "--loudness-lufs" in text
    assert "100 % honest" in text
    assert "-18.0" in text


def test_unknown_settings_are_left_out_and_bounds_hold() -> None:
    assert validate_settings(toy_settings.Settings, {"pipelinechannel--gpus": "0"}) == toy_settings.Settings()
    with pytest.raises(SettingsError, match="loudness_lufs"):
        validate_settings(toy_settings.Settings, {"loudness_lufs": "loud"})


CHOICES = {"taste": {"soft": {"loudness_lufs": -30.0}, "loud and dark": {"loudness_lufs": -12.0, "word": "pluck"}}}


def test_a_choice_of_a_drop_down_stands_for_settings(folder: Path) -> None:
    given = recorded(folder, settings={"loudness_lufs": -20.0, "choices": CHOICES}, taste="loud and dark")
    assert play(given)[0] == 0
    assert "pluck -12.0" in (folder / "kfp/audiotune-probe/ffde30c8/report/94e27188/page").read_text()


def test_a_word_that_no_drop_down_has_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(recorded(folder, settings={"choices": CHOICES}, taste="sour"))[0] == 1
    assert capsys.readouterr().err.splitlines()[-1] == "toy_step: taste is 'sour'. Take one of: soft, loud and dark"


def test_a_choice_may_be_a_setting_itself_and_may_be_absent(folder: Path) -> None:
    words = {"word": {"the dark one": {"word": "drone"}}}
    assert play(recorded(folder, settings={"choices": words}, word="a free word"))[0] == 0
    assert "a free word" in (folder / "kfp/audiotune-probe/ffde30c8/report/94e27188/page").read_text()
    assert executor.settings_from_choices(toy_settings.Settings, CHOICES, {"taste": None}) == {}


def test_the_settings_of_a_release_win_over_the_recipe_and_the_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = make_withdrawal_group(FolderStore(folder / "store")).releases["jam 2"]
    kept = {"toy_step": {"loudness_lufs": -9.0, "word": "gong", "of another version": 1}}
    FolderStore(folder / "store").put(
        release.key, release.model_copy(update={"training": TrainingRecord(settings=kept)}).model_dump_json().encode()
    )
    given = recorded(folder, settings={"word": "compiled", "choices": CHOICES}, taste="soft", like=release.key)
    assert play(given)[0] == 0
    assert "gong -9.0" in (folder / "kfp/audiotune-probe/ffde30c8/report/94e27188/page").read_text()
    assert play(recorded(folder, like="manifests/releases/jam/9-x.json"))[0] == 1
    assert "nothing is stored" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["make", "train", "report"])
def test_recorded_inputs_are_read_as_they_came(step: str) -> None:
    """ExecutorInputs of a real backend: artifacts without a type, names nobody declared, None absent."""
    given = json.loads((RECORDED / f"{step}.executor_input.json").read_text())
    for side in ("inputs", "outputs"):
        for name in given[side].get("artifacts", {}):
            path = executor._artifact_path(given[side], name)
            assert str(path).startswith("/s3/audiotune/kfp/audiotune-probe/")
    values = given["inputs"]["parameterValues"]
    assert "d_none" not in values
    assert validate_settings(toy_settings.Settings, values) == toy_settings.Settings()


def test_recorded_outputs_hold_what_ours_hold(folder: Path) -> None:
    """What a real backend accepted has the same keys as what our executor writes."""
    said = play(recorded(folder))[1]
    taken = json.loads((RECORDED / "make.executor_output.json").read_text())
    assert set(said) == set(taken)
    ours, theirs = said["artifacts"]["page"]["artifacts"][0], taken["artifacts"]["report"]["artifacts"][0]
    assert set(ours) == set(theirs)
    assert ours["type"] == theirs["type"]


@pytest.mark.parametrize("step", STEPS)
def test_help_in_under_a_second(step: str) -> None:
    """Of processor time: a busy machine is nobody's fault."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", f"components.{step}", "--help"], check=True, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
