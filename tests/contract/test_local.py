"""The local runner plays compiled container components as processes, through kfp's own orchestrator."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiotune.errors import PipelineError
from audiotune.runs.run_form import RunForm
from pipelines.compile import compile_pipeline
from pipelines.local import drop_unset_inputs, main, run_pipeline
from pipelines.recipe import load_recipe

COUNT = (
    """
from components.executor import StepSettings
INPUTS = (); OUTPUTS = ("made", "metrics"); PARAMETERS = ("key",)
class Settings(StepSettings):
    n: int = 3
    words: tuple[str, ...] = ()
""",
    """
import os
from components.executor import StepResult
def run_step(settings, store, progress, *, made, metrics):
    progress(0.5, "half way")
    made.write_text(f"{settings.n} {settings.words} {os.environ['PLACE']}")
    return StepResult({"key": "k/1"}, {"n": settings.n}, {"made": {"nothing": None, "b": 2}})
""",
)
TELL = """
from components.executor import StepSettings
INPUTS = ("made",); OUTPUTS = ("report",); PARAMETERS = ()
class Settings(StepSettings):
    key: str = ""
    fail: bool = False
""", """
from components.executor import StepResult
from audiotune.errors import SoundError
def run_step(settings, store, progress, *, made, report):
    if settings.fail:
        raise SoundError("too loud", where="x.wav", cure="turn it down")
    report.write_text(made.read_text() + " " + settings.key)
    return StepResult()
"""  # fmt: skip


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A pipeline of two toy steps in a package of their own, compiled."""
    for name, (settings, step) in {"count": COUNT, "tell": TELL}.items():
        package = tmp_path / "toys" / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "settings.py").write_text(settings)
        (package / "step.py").write_text(step)
        (package / "__main__.py").write_text(
            f'from components.executor import run_command_line\nraise SystemExit(run_command_line("toys.{name}"))\n'
        )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])]))
    monkeypatch.setenv("PLACE", "here")
    return _compiled(tmp_path / "toy.yaml")


def _compiled(path: Path) -> list[dict[str, Any]]:
    import tests.contract.toy_pipeline as toy

    toy.compile_to(path)
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def test_outputs_travel_and_this_machine_wins(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    outputs = run_pipeline(documents, {"n": "9"}, tmp_path / "runs", str(tmp_path / "store"))
    assert outputs["count"]["key"] == "k/1"
    assert outputs["count"]["metrics"] == {"n": 9}
    assert Path(outputs["tell"]["report"]).read_text() == "9 ('x',) here k/1"
    assert (tmp_path / "runs" / "pipeline.yaml").exists()


def test_the_board_tells_every_step_and_where_it_stopped(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    board = tmp_path / "board.json"
    run_pipeline(documents, {}, tmp_path / "runs", str(tmp_path / "store"), board)
    assert [(step["name"], step["state"]) for step in json.loads(board.read_text())["steps"]] == [
        ("count", "done"),
        ("tell", "done"),
    ]
    with pytest.raises(PipelineError):
        run_pipeline(documents, {"fail": "true"}, tmp_path / "again", str(tmp_path / "store"), board)
    assert [step["state"] for step in json.loads(board.read_text())["steps"]] == ["done", "failed"]


def test_the_form_is_printed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the form is refused where nothing can train")
    assert main(["tune", "--recipe", "demo", "--form"]) == 0
    form = RunForm.model_validate_json(capsys.readouterr().out)
    assert [step.title for step in form.steps][2] == "Fine-tune the model"
    name = form.find_field("training_name")
    assert name is not None
    assert name.default == "demo"


def test_defaults_of_the_form_lie_over_the_recipe(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    outputs = run_pipeline(documents, {}, tmp_path / "runs", str(tmp_path / "store"))
    assert Path(outputs["count"]["made"]).read_text().startswith("5 ('x',)")


def test_the_failing_steps_last_words_are_the_error(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^tell: too loud in x\.wav\. Turn it down") as caught:
        run_pipeline(documents, {"fail": "true"}, tmp_path / "runs", str(tmp_path / "store"))
    log = Path(str(caught.value).rpartition(" is in ")[2])
    assert "too loud" in log.read_text()


def test_a_whole_number_nobody_gives_is_left_out_as_on_a_real_backend() -> None:
    documents = compile_pipeline("full", load_recipe("demo"))
    before = documents[0]["components"]["comp-finetune"]["inputDefinitions"]["parameters"]
    after = drop_unset_inputs(documents)[0]["components"]["comp-finetune"]["inputDefinitions"]["parameters"]
    assert set(before) - set(after) == {"seed"}
    tuned = drop_unset_inputs(compile_pipeline("tune", load_recipe("demo")))[0]["components"]["comp-finetune"]["inputDefinitions"]
    assert "seed" in tuned["parameters"]  # there the form asks for it
