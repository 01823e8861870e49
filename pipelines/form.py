"""The run form: what a musician sees in Kubeflow, in words, and what each word means for the steps.

Kubeflow draws one box per parameter, by alphabet, with no description. So names say what they are about first (segments_,
training_), and what a machine person would set by numbers is a drop-down: `literals`, which the SDK cannot write, and which
the API then holds people to. A word chosen there is turned into knobs by components.executor, from the table compiled in here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.settings import Cluster
from pipelines.documents import Documents, iterate_steps
from pipelines.recipe import Recipe

ChoiceSettings = dict[str, dict[str, Any]]  # what is chosen -> the knobs it means

_BASES = {
    "Stable Audio Open 1.0": "stabilityai/stable-audio-open-1.0",
    "Stable Audio Open Small": "stabilityai/stable-audio-open-small",
    "tiny, for trials": "tiny",
}
_METHODS: ChoiceSettings = {
    "whole model": {"mode": "full", "learning_rate": 5e-5},
    "light add-on (LoRA)": {"mode": "lora", "learning_rate": 1e-4},
}


@dataclass(frozen=True)
class StepSetting:
    """A box of the form whose default is a knob of a step."""

    step: str
    setting: str


FIELD_SETTINGS = {
    "segments_longest_s": StepSetting("segment", "max_s"),
    "segments_shortest_s": StepSetting("segment", "min_s"),
    "training_name": StepSetting("register", "name"),
    "training_seed": StepSetting("finetune", "seed"),
}
DESCRIPTIONS = {
    "agreement": "Where agreement.toml lies that is to be put in force; empty keeps the one in force.",
    "contributors": "Who plays on the recordings: member ids with commas between, as in ana,ben.",
    "instrument": "What is played, when it is the same on all recordings.",
    "licence": "Licence of the recordings; empty takes the agreement's.",
    "segments": "Which segments are learned from: newest, or a key of the store.",
    "segments_longest_s": "Longest segment in seconds; longer takes are cut where least happens.",
    "segments_shortest_s": "Shortest segment in seconds.",
    "session": "Name of the jam.",
    "source": "Where the recordings are: s3://bucket/folder, an https address, gdrive:ID or hf:owner/name.",
    "training_base": "The model that is taught your sound.",
    "training_length": "How long it learns; short is for a first listen.",
    "training_method": "Whole model: the most of your sound. Light add-on: smaller GPU, small files.",
    "training_name": "Name the release gets.",
    "training_seed": "Any whole number; another one gives another take of the same training.",
}


def build_choices(recipe: Recipe) -> dict[str, tuple[str, ChoiceSettings]]:
    """Name on the form -> (the card's name for it, what each word means)."""
    return {
        "training_base": ("base", build_base_choices(recipe)),
        "training_length": ("length", build_length_choices(recipe)),
        "training_method": ("method", build_method_choices(recipe)),
    }


def build_base_choices(recipe: Recipe) -> ChoiceSettings:
    """The known base models, and the recipe's own when it is another."""
    own = recipe.setting_value("finetune", "base")
    known = {**_BASES, **({} if own in _BASES.values() else {own: own})}
    return {words: {"base": base} for words, base in known.items()}


def build_length_choices(recipe: Recipe) -> ChoiceSettings:
    """A tenth, the whole and thrice the recipe's steps, the numbers told."""
    steps = int(recipe.setting_value("finetune", "steps"))
    named = {"short": max(1, steps // 10), "usual": steps, "long": 3 * steps}
    return {f"{word} ({count} steps)": {"steps": count} for word, count in named.items()}


def build_method_choices(recipe: Recipe) -> ChoiceSettings:
    """The recipe's own method keeps the recipe's numbers; the other one brings its usual learning rate."""
    own = recipe.setting_value("finetune", "mode")
    return {word: ({"mode": own} if knobs["mode"] == own else knobs) for word, knobs in _METHODS.items()}


def fill_form(documents: Documents, recipe: Recipe, cluster: Cluster) -> Documents:
    """The pipeline with the recipe in it: the form's defaults and drop-downs, and every step's settings."""
    made = copy.deepcopy(documents)
    parameters = made[0]["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, card in parameters.items():
        if name in DESCRIPTIONS:
            card["description"] = DESCRIPTIONS[name]
        if name in FIELD_SETTINGS:
            card["defaultValue"] = recipe.setting_value(FIELD_SETTINGS[name].step, FIELD_SETTINGS[name].setting)
    for name, (_, words) in build_choices(recipe).items():
        if name in parameters:
            parameters[name].update(literals=list(words), defaultValue=_find_default(words, recipe))
    for step, task in iterate_steps(made[0]):
        settings = task.get("inputs", {}).get("parameters", {}).get("settings")
        if settings is not None:
            settings["runtimeValue"] = {"constant": _build_settings(step, task, recipe, cluster)}
    return made


def _find_default(words: ChoiceSettings, recipe: Recipe) -> str:
    """The word that means what the recipe says anyway."""
    return next(word for word, knobs in words.items() if all(recipe.setting_value("finetune", k) == v for k, v in knobs.items()))


def _build_settings(step: str, task: Mapping[str, Any], recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
    knobs = recipe.settings_for(step)
    if step == "finetune":
        knobs.update(_settings_from_cluster(knobs, cluster))
    asked = {name: words for name, words in build_choices(recipe).values() if name in task["inputs"]["parameters"]}
    return {**knobs, "choices": asked} if asked else knobs


def _settings_from_cluster(knobs: Mapping[str, Any], cluster: Cluster) -> dict[str, Any]:
    """Knobs that the cluster knows better than the recipe: what fits its GPUs, and how many of them there are."""
    made: dict[str, Any] = {"batch_size": cluster.batch_size, "nodes": cluster.nodes}
    if cluster.gpus > 1 and "devices" not in knobs:
        made["devices"] = cluster.gpus
    return {name: value for name, value in made.items() if value}
