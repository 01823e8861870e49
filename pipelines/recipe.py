"""Recipe: the settings of all steps as one typed object, read from a TOML file with one table per step.

Every entry is checked against the step's settings model, so a misspelt one is named before anything runs.
"""

import importlib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import SettingsError
from components.executor import StepSettings
from pipelines.cluster.settings import Cluster

STEPS = ("ingest", "segment", "annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register")
RECIPES = Path(__file__).parent / "recipes"
StepTable = dict[str, Any]


class Recipe(FrozenModel):
    """The settings of all steps. Step tables hold only what differs from the steps' own defaults."""

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
        """Names every misspelt setting and every value out of bounds; settings that only a run knows may be missing."""
        step = str(info.field_name).removesuffix("_")
        try:
            load_step_settings(step).model_validate(value)
        except ValidationError as e:
            errors = [error for error in e.errors() if error["type"] != "missing"]
            if errors:
                words = (f"{step}.{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors)
                raise ValueError("; ".join(words)) from None
        return value

    def settings_for(self, step: str) -> StepTable:
        """What this recipe sets for a step."""
        value: StepTable = self.register_ if step == "register" else getattr(self, step)
        return dict(value)

    def setting_value(self, step: str, name: str) -> Any:
        """The value that a step gets for a setting: the recipe's, or the step's own default."""
        field = load_step_settings(step).model_fields[name]
        return self.settings_for(step).get(name, field.get_default(call_default_factory=True))


def load_step_settings(step: str) -> type[StepSettings]:
    """The settings model of a step; imports nothing heavy."""
    model: type[StepSettings] = importlib.import_module(f"components.{step}.settings").Settings
    return model


def load_recipe(name: str | Path) -> Recipe:
    """A recipe by file, or by the name of one that ships (demo, first_release, full_16gb, full_finetune, lora_24gb, lora_8gb).

    Raises:
        SettingsError: no such file, no TOML, or settings that do not fit, each named.
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
        raise SettingsError(f"the recipe does not fit: {faults}", where=str(path), cure="mend the settings named") from e
