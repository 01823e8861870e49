"""Recipe: one typed object, the settings of all steps, read from a commented TOML file.

A table per step; every knob is checked against the step's own settings, so a misspelt one is named before anything runs.
"""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audiotune.errors import SettingsError
from components.executor import StepSettings
from pipelines.cluster.settings import Cluster

STEPS = ("ingest", "segment", "annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register")
RECIPES = Path(__file__).parent / "recipes"
StepTable = dict[str, Any]


class Recipe(BaseModel):
    """The settings of all steps. Step tables hold only what differs from the steps' own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str = ""
    ingest: StepTable = {}
    segment: StepTable = {}
    annotate_merge: StepTable = {}
    encode: StepTable = {}
    finetune: StepTable = {}
    unwrap: StepTable = {}
    evaluate: StepTable = {}
    register_: StepTable = Field(default={}, alias="register")
    cluster: Cluster = Cluster()

    @field_validator(*(step for step in STEPS if step != "register"), "register_")
    @classmethod
    def _check_settings(cls, value: StepTable, info: Any) -> StepTable:
        step = str(info.field_name).removesuffix("_")
        faults = find_setting_faults(step, value)
        if faults:
            raise ValueError("; ".join(faults))
        return value

    def settings_for(self, step: str) -> StepTable:
        """What this recipe sets for a step."""
        value: StepTable = self.register_ if step == "register" else getattr(self, step)
        return dict(value)

    def setting_value(self, step: str, name: str) -> Any:
        """The value a step will see for a knob: the recipe's, or the step's own default."""
        field = load_step_settings(step).model_fields[name]
        return self.settings_for(step).get(name, field.get_default(call_default_factory=True))


def load_step_settings(step: str) -> type[StepSettings]:
    """The settings model of a step; imports nothing heavy."""
    model: type[StepSettings] = importlib.import_module(f"components.{step}.settings").Settings
    return model


def find_setting_faults(step: str, knobs: StepTable) -> list[str]:
    """Every misspelt knob and every value out of bounds; knobs that only a run can know may be missing."""
    try:
        load_step_settings(step).model_validate(knobs)
    except ValidationError as e:
        found = [x for x in e.errors() if x["type"] != "missing"]
        return [f"{step}.{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in found]
    return []


def load_recipe(name: str | Path) -> Recipe:
    """A recipe by file, or by the name of one that ships (demo, first_release, full_finetune, lora_24gb).

    Raises:
        SettingsError: no such file, no TOML, or knobs that do not fit, each named.
    """
    path = Path(name)
    if not path.suffix:
        path = RECIPES / f"{name}.toml"
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise SettingsError("no such recipe", where=str(name), cure=f"name a TOML file or one of: {shipped}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SettingsError(f"the recipe is no TOML: {e}", where=str(path), cure="mend the line it names") from e
    except ValidationError as e:
        faults = "; ".join(x["msg"].removeprefix("Value error, ") for x in e.errors())
        raise SettingsError(f"the recipe does not fit: {faults}", where=str(path), cure="mend the knobs named") from e
