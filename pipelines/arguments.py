"""Values of a run form: from NAME=VALUE, with the form's types, as Kubeflow's API would check them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from audiotune.errors import SettingsError


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """`name=value` words as a table.

    Raises:
        SettingsError: a word without '='.
    """
    split = [word.partition("=") for word in words]
    bad = [name for name, equals, _ in split if not equals]
    if bad:
        raise SettingsError(f"--set {bad[0]} has no '='", cure="write --set name=value")
    return {name.strip(): value for name, _, value in split}


def convert_arguments(spec: dict[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The run form's values with the form's types.

    Raises:
        SettingsError: a name the form does not have, a value of the wrong type, or one that its drop-down does not have.
    """
    form = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(arguments) - set(form))
    if unknown:
        raise SettingsError(f"no parameter {', '.join(unknown)} on this form", cure=f"it has: {', '.join(sorted(form))}")
    typed = {name: _convert_value(name, form[name], value) for name, value in arguments.items()}
    for name, value in typed.items():
        allowed = form[name].get("literals")
        if allowed and value not in allowed:
            raise SettingsError(f"{name} is {value!r}", cure=f"take one of: {', '.join(map(str, allowed))}")
    return typed


def _convert_value(name: str, card: dict[str, Any], value: Any) -> Any:
    kind = card["parameterType"]
    if not isinstance(value, str) or kind == "STRING":
        return value
    try:
        plain = json.loads(value)
        if kind == "NUMBER_INTEGER":
            return int(plain)
        return float(plain) if kind == "NUMBER_DOUBLE" else plain
    except (ValueError, TypeError):
        raise SettingsError(f"{name}={value!r} is no {kind.lower().replace('_', ' ')}", cure="give a number") from None
