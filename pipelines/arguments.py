"""Arguments of the command lines: where Kubeflow is, and the values of a run form, checked as Kubeflow's API would check them."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from audiotune.errors import SettingsError


def add_kubeflow_flags(parser: argparse.ArgumentParser, namespace: str) -> None:
    """The flags that say where Kubeflow is and who asks. `namespace`: the help of the flag of this name."""
    words = {
        "endpoint": "Kubeflow Pipelines API",
        "token": "bearer token",
        "user": "kubeflow-userid header",
        "namespace": namespace,
    }
    for name, meaning in words.items():
        variable = f"AUDIOTUNE_KFP_{name.upper()}"
        parser.add_argument(f"--{name}", default=os.environ.get(variable, ""), help=f"{meaning} ({variable})")


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """`name=value` words as a table.

    Raises:
        SettingsError: a word without '='.
    """
    split = [word.partition("=") for word in words]
    if bad := [name for name, equals, _ in split if not equals]:
        raise SettingsError(f"--set {bad[0]} has no '='", cure="write --set name=value")
    return {name.strip(): value for name, _, value in split}


def convert_arguments(spec: dict[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the types of the run form.

    Raises:
        SettingsError: a name the form does not have, a value of the wrong type, or one that its drop-down does not have.
    """
    form = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    if unknown := sorted(set(arguments) - set(form)):
        raise SettingsError(f"no parameter {', '.join(unknown)} on this form", cure=f"it has: {', '.join(sorted(form))}")
    typed = {name: _convert_value(name, form[name], value) for name, value in arguments.items()}
    for name, value in typed.items():
        allowed = form[name].get("literals")
        if allowed and value not in allowed:
            raise SettingsError(f"{name} is {value!r}", cure=f"take one of: {', '.join(map(str, allowed))}")
    return typed


def _convert_value(name: str, field: dict[str, Any], value: Any) -> Any:
    kind = field["parameterType"]
    if not isinstance(value, str) or kind == "STRING":
        return value
    try:
        parsed = json.loads(value)
        if kind == "NUMBER_INTEGER":
            return int(parsed)
        return float(parsed) if kind == "NUMBER_DOUBLE" else parsed
    except (ValueError, TypeError):
        raise SettingsError(f"{name}={value!r} is no {kind.lower().replace('_', ' ')}", cure="give a number") from None
