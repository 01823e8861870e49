"""The run form that a musician fills in on Kubeflow's page, and the settings of the steps that each choice stands for.

Kubeflow shows one field per parameter, in alphabetical order, without a description. So each name begins with its subject
(segments_, training_), and drop-downs replace numbers: `literals`, which the SDK cannot write and the API enforces.
components.executor turns a choice into settings, by the table that is compiled in here.
"""

import copy
from collections.abc import Mapping
from typing import Any

from audiotune.stable_audio.base_index import choose_index_name
from audiotune.stable_audio.known_bases import find_known_base
from pipelines.cluster.settings import Cluster
from pipelines.documents import Documents, iterate_steps
from pipelines.recipe import Recipe

ChoiceSettings = dict[str, dict[str, Any]]  # choice -> the settings that it stands for

_TINY = "tiny, for trials"
_BASES = {
    "Stable Audio Open 1.0": "stabilityai/stable-audio-open-1.0",
    "Stable Audio Open Small": "stable-audio-open-small-base",  # the one to tune, not the distilled one
    _TINY: "tiny",
}
_METHODS: ChoiceSettings = {
    "whole model": {"mode": "full", "learning_rate": 5e-5},
    "light add-on (LoRA)": {"mode": "lora", "learning_rate": 1e-4},
}
# field of the form -> step and setting whose value is its default
FIELD_SETTINGS = {
    "segments_longest_s": ("segment", "max_s"),
    "segments_shortest_s": ("segment", "min_s"),
    "training_name": ("register", "name"),
    "training_seed": ("finetune", "seed"),
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
    "training_like": "Card of a release, by its key in the store: all steps take its settings; empty takes those of this form.",
    "training_length": "How long it learns; short is for a first listen.",
    "training_method": "Whole model: the most of your sound. Light add-on: smaller GPU, small files.",
    "training_name": "Name the release gets.",
    "training_seed": "Any whole number; another one gives another take of the same training.",
}


def build_choices(recipe: Recipe) -> dict[str, tuple[str, ChoiceSettings]]:
    """Field of the form -> (parameter of the step, its choices)."""
    return {
        "training_base": ("base", build_base_choices(recipe)),
        "training_length": ("length", build_length_choices(recipe)),
        "training_method": ("method", build_method_choices(recipe)),
    }


def build_base_choices(recipe: Recipe) -> ChoiceSettings:
    """The known base models, and the recipe's own when it is another."""
    own = recipe.setting_value("finetune", "base")
    known = {**_BASES, **({} if own in _BASES.values() else {own: own})}
    return {choice: {"base": base} for choice, base in known.items()}


def build_length_choices(recipe: Recipe) -> ChoiceSettings:
    """A tenth, the whole and three times the recipe's steps; each choice names its number."""
    steps = int(recipe.setting_value("finetune", "steps"))
    named = {"short": max(1, steps // 10), "usual": steps, "long": 3 * steps}
    return {f"{word} ({count} steps)": {"steps": count} for word, count in named.items()}


def build_method_choices(recipe: Recipe) -> ChoiceSettings:
    """The recipe's own method keeps the recipe's numbers; the other one brings its usual learning rate."""
    own = recipe.setting_value("finetune", "mode")
    return {choice: ({"mode": own} if usual["mode"] == own else usual) for choice, usual in _METHODS.items()}


def is_promised(base: str, cluster: Cluster) -> bool:
    """Whether the cluster's facts say that a base is copied into the store ahead of time."""
    return choose_index_name(base) in {choose_index_name(name) for name in cluster.bases}


def find_unready_base(recipe: Recipe, cluster: Cluster) -> str:
    """The recipe's base, if it is behind a licence and the cluster's facts name neither a token nor a copy; else empty.

    The neutral pipelines, which are for no cluster yet, keep the recipe's base.
    """
    base = str(recipe.setting_value("finetune", "base"))
    known = find_known_base(base)
    gated = bool(cluster.store and known and known.gated)
    return base if gated and not cluster.hub_secret and not is_promised(base, cluster) else ""


def fill_form(documents: Documents, recipe: Recipe, cluster: Cluster) -> Documents:
    """The pipeline with the recipe in it: the form's defaults and drop-downs, and every step's settings."""
    filled = copy.deepcopy(documents)
    parameters = filled[0]["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, field in parameters.items():
        if name in DESCRIPTIONS:
            field["description"] = DESCRIPTIONS[name]
        if name in FIELD_SETTINGS:
            field["defaultValue"] = recipe.setting_value(*FIELD_SETTINGS[name])
    for name, (_, choices) in build_choices(recipe).items():
        if name in parameters:
            parameters[name].update(literals=list(choices), defaultValue=_find_default(choices, recipe))
    if "training_base" in parameters and (unready := find_unready_base(recipe, cluster)):
        parameters["training_base"]["defaultValue"] = _TINY  # a run from the defaults must not end for want of a token
        parameters["training_base"]["description"] += f" {unready} needs a token of Hugging Face, which this cluster has not."
    for step, task in iterate_steps(filled[0]):
        settings = task.get("inputs", {}).get("parameters", {}).get("settings")
        if settings is not None:
            settings["runtimeValue"] = {"constant": _build_settings(step, task, recipe, cluster)}
    return filled


def _find_default(choices: ChoiceSettings, recipe: Recipe) -> str:
    """The choice whose settings the recipe has already."""
    own = {name: recipe.setting_value("finetune", name) for settings in choices.values() for name in settings}
    return next(choice for choice, settings in choices.items() if settings.items() <= own.items())


def _build_settings(step: str, task: Mapping[str, Any], recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
    settings = recipe.settings_for(step)
    if step == "finetune":
        settings.update(_settings_from_cluster(settings, cluster))
    choices = {name: choices for name, choices in build_choices(recipe).values() if name in task["inputs"]["parameters"]}
    return {**settings, "choices": choices} if choices else settings


def _settings_from_cluster(settings: Mapping[str, Any], cluster: Cluster) -> dict[str, Any]:
    """Settings that depend on the cluster, not on the recipe: what fits its GPUs, and how many of them there are."""
    devices = cluster.gpus if cluster.gpus > 1 and "devices" not in settings else None
    found = {"batch_size": cluster.batch_size, "nodes": cluster.nodes, "devices": devices}
    return {name: value for name, value in found.items() if value}
