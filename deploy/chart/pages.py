"""What is written for people from the values model: commented values.yaml and the reference page."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel

from deploy.chart.knobs import Knob, knobs
from deploy.chart.parts import Gpu
from deploy.chart.values import Values

_BY = "Written by `python -m deploy.chart.generate` from deploy/chart/values.py; change it there."
_WIDTH = 128


def defaults() -> Values:
    """The defaults as they ship: without the one value nobody else can know, so the rules are not asked."""
    return Values.model_construct(**{name: info.get_default() for name, info in Values.model_fields.items()})


def values_yaml() -> str:
    lines = [f"# {_BY}", "# The only value without a default is images.registry. Full table: docs/operations/values.md"]
    for knob in knobs(defaults()):
        depth = len(knob.path) - 1
        if depth == 0:
            lines.append("")
        if not _taken_for_granted(knob):
            lines += _comment(knob.words, depth)
        value = "" if knob.group and knob.default else f" {_yaml(knob.default)}"
        lines.append(f"{'  ' * depth}{knob.path[-1]}:{value}")
    return "\n".join(lines) + "\n"


def _taken_for_granted(knob: Knob) -> bool:
    """Requests and limits look the same everywhere; their words stand once in the reference."""
    return "resources" in knob.path[:-1] or (knob.path[0] == "images" and len(knob.path) == 3)


def _comment(words: str, depth: int) -> list[str]:
    indent = "  " * depth + "# "
    return textwrap.wrap(words, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _yaml(value: Any) -> str:
    """JSON is YAML; short and without doubt about types."""
    return json.dumps(value, ensure_ascii=False)


def reference() -> str:
    lines = ["# Values of the chart", "", f"<!-- {_BY} -->", "", _INTRODUCTION, ""]
    for knob in knobs(defaults()):
        if knob.group and len(knob.path) == 1:
            lines += [
                "",
                f"## {knob.name}",
                f"{_sentence(knob.words)}",
                "",
                "| value | type | default | what |",
                "|---|---|---|---|",
            ]
        elif not knob.group:
            if len(knob.path) == 1:
                lines += ["", f"## {knob.name}", "", "| value | type | default | what |", "|---|---|---|---|"]
            default = f"`{_yaml(knob.default)}`"
            lines.append(f"| `{knob.name}` | {knob.kind} | {default} | {knob.words} |".replace('`""`', "empty"))
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "Every key, its bounds and its default. A key that is not here is refused at install, with its name. "
    "Keys below `gpu` that are null come from the preset; the presets stand in `helm/audio-tune/files/presets.yaml`."
)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def gpu_fields(model: type[BaseModel] = Gpu) -> list[str]:
    """The keys a preset answers."""
    return [info.alias or name for name, info in model.model_fields.items() if info.default is None]
