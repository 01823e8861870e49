"""What is written for people from the values model: commented values.yaml and the reference page."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel

from deploy.chart.service_values import GpuValues
from deploy.chart.value_fields import ValueField, list_value_fields
from deploy.chart.values import ChartValues

_WRITTEN_BY = "Written by `python -m deploy.chart.generate` from deploy/chart/values.py; change it there."
_WIDTH = 128


def build_defaults() -> ChartValues:
    """The defaults as they ship: without the one value nobody else can know, so the rules are not asked."""
    return ChartValues.model_construct(**{name: info.get_default() for name, info in ChartValues.model_fields.items()})


def render_values_yaml() -> str:
    lines = [f"# {_WRITTEN_BY}", "# The only value without a default is images.registry. Full table: docs/operations/values.md"]
    for knob in list_value_fields(build_defaults()):
        depth = len(knob.path) - 1
        if depth == 0:
            lines.append("")
        if not _is_explained_elsewhere(knob):
            lines += _wrap_comment(knob.words, depth)
        value = "" if knob.group and knob.default else f" {_dump_yaml(knob.default)}"
        lines.append(f"{'  ' * depth}{knob.path[-1]}:{value}")
    return "\n".join(lines) + "\n"


def _is_explained_elsewhere(knob: ValueField) -> bool:
    """Requests and limits look the same everywhere; their words stand once in the reference."""
    return "resources" in knob.path[:-1] or (knob.path[0] == "images" and len(knob.path) == 3)


def _wrap_comment(words: str, depth: int) -> list[str]:
    indent = "  " * depth + "# "
    return textwrap.wrap(words, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _dump_yaml(value: Any) -> str:
    """JSON is YAML; short and without doubt about types."""
    return json.dumps(value, ensure_ascii=False)


def render_reference() -> str:
    lines = ["# Values of the chart", "", f"<!-- {_WRITTEN_BY} -->", "", _INTRODUCTION, ""]
    for knob in list_value_fields(build_defaults()):
        if knob.group and len(knob.path) == 1:
            lines += [
                "",
                f"## {knob.name}",
                f"{_make_sentence(knob.words)}",
                "",
                "| value | type | default | what |",
                "|---|---|---|---|",
            ]
        elif not knob.group:
            if len(knob.path) == 1:
                lines += ["", f"## {knob.name}", "", "| value | type | default | what |", "|---|---|---|---|"]
            default = f"`{_dump_yaml(knob.default)}`"
            lines.append(f"| `{knob.name}` | {knob.kind} | {default} | {knob.words} |".replace('`""`', "empty"))
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "Every key, its bounds and its default. A key that is not here is refused at install, with its name. "
    "Keys below `gpu` that are null come from the preset; the presets stand in `helm/audio-tune/files/presets.yaml`."
)


def _make_sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def list_preset_fields(model: type[BaseModel] = GpuValues) -> list[str]:
    """The keys a preset answers."""
    return [info.alias or name for name, info in model.model_fields.items() if info.default is None]
