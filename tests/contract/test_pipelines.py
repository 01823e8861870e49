"""Compiled pipelines: what runs everywhere. Goldens come from `make golden` with recipe first_release."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiotune.errors import SettingsError
from pipelines.compile import PIPELINES, compiled, to_yaml
from pipelines.lint import faults_in, tasks_of
from pipelines.local import typed_arguments
from pipelines.recipe import RECIPES, STEPS, load_recipe, settings_of

GOLDEN = Path(__file__).parent / "golden"
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def documents() -> dict[str, Documents]:
    recipe = load_recipe("first_release")
    return {name: compiled(name, recipe) for name in PIPELINES}


@pytest.mark.parametrize("name", PIPELINES)
def test_compiled_pipeline_is_the_golden_one(documents: dict[str, Documents], name: str) -> None:
    golden = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert documents[name] == golden, f"{name} changed: read the difference after `make golden`, then commit it"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads_and_compiles(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert {t["componentRef"]["name"] for t in tasks_of(compiled("full", recipe)[0]).values()} == {
        f"comp-{step.replace('_', '-')}" for step in STEPS
    }


def test_a_misspelt_knob_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[finetune]\nstepz = 3\n')
    with pytest.raises(SettingsError, match="finetune.stepz"):
        load_recipe(tmp_path / "r.toml")


def test_a_value_out_of_bounds_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[finetune]\nsteps = -3\n')
    with pytest.raises(SettingsError, match="finetune.steps"):
        load_recipe(tmp_path / "r.toml")


def test_an_unknown_recipe_names_those_that_ship() -> None:
    with pytest.raises(SettingsError, match="first_release"):
        load_recipe("nosuch")


@pytest.mark.parametrize("step", STEPS)
def test_card_door_and_settings_agree(documents: dict[str, Documents], step: str) -> None:
    card = importlib.import_module(f"components.{step}.settings")
    component = documents["full"][0]["components"][f"comp-{step.replace('_', '-')}"]
    given = set(component.get("inputDefinitions", {}).get("parameters", {}))
    assert given - {"settings"} <= set(settings_of(step).model_fields), "a parameter of the card is no knob"
    assert "settings" in given
    assert set(component.get("inputDefinitions", {}).get("artifacts", {})) == set(card.INPUTS)
    assert set(component["outputDefinitions"]["artifacts"]) == set(card.OUTPUTS)
    assert set(component["outputDefinitions"].get("parameters", {})) == set(card.PARAMETERS)


def test_each_step_has_its_own_command(documents: dict[str, Documents]) -> None:
    executors = documents["full"][0]["deploymentSpec"]["executors"]
    commands = [tuple(e["container"]["command"]) for e in executors.values()]
    assert len(commands) == len(set(commands)) == len(STEPS)


def _break(documents: Documents, how: str) -> Documents:
    broken = copy.deepcopy(documents)
    spec, platform = broken
    executors = spec["deploymentSpec"]["executors"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    if how == "equal":
        executors["exec-segment"]["container"] = executors["exec-ingest"]["container"]
    elif how == "placeholder":
        executors["exec-segment"]["container"]["args"].append("{{$.inputs.parameters['x']}}")
    elif how == "root":
        del kubernetes["exec-segment"]["securityContext"]
    elif how == "timeout":
        del kubernetes["exec-finetune"]["activeDeadlineSeconds"]
    elif how == "backoff":
        spec["root"]["dag"]["tasks"]["segment"]["retryPolicy"]["backoffMaxDuration"] = "3600s"
    elif how == "caching":
        spec["root"]["dag"]["tasks"]["register"]["cachingOptions"] = {"enableCache": True}
    elif how == "form":
        parameters = spec["root"]["inputDefinitions"]["parameters"]
        parameters.update({f"p{i}": {"parameterType": "STRING"} for i in range(13)})
    return broken


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("equal", "equal container specs"),
        ("placeholder", "command line"),
        ("root", "run_as_non_root"),
        ("timeout", "timeout"),
        ("backoff", "backoff"),
        ("caching", "caching"),
        ("form", "run form"),
    ],
)
def test_lint_finds(documents: dict[str, Documents], how: str, word: str) -> None:
    assert faults_in(documents["full"]) == []
    assert any(word in fault for fault in faults_in(_break(documents["full"], how)))


def test_form_offers_drop_downs_and_refuses_other_words(documents: dict[str, Documents]) -> None:
    spec = documents["full"][0]
    assert spec["root"]["inputDefinitions"]["parameters"]["mode"]["literals"] == ["full", "lora"]
    assert typed_arguments(spec, {"steps": "30", "learning_rate": "1e-4", "mode": "lora"}) == {
        "steps": 30,
        "learning_rate": 1e-4,
        "mode": "lora",
    }
    with pytest.raises(SettingsError, match="Take one of"):
        typed_arguments(spec, {"mode": "half"})
    with pytest.raises(SettingsError, match="no parameter colour"):
        typed_arguments(spec, {"colour": "red"})
    with pytest.raises(SettingsError, match="steps="):
        typed_arguments(spec, {"steps": "many"})


def test_yaml_is_stable(documents: dict[str, Documents]) -> None:
    again = compiled("full", load_recipe("first_release"))
    assert to_yaml(again) == to_yaml(documents["full"])
