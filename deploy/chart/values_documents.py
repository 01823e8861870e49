"""The commented values.yaml, and the reference page of the values."""

import json
import textwrap
from typing import Any

from deploy.chart.value_fields import ValueField, build_defaults, list_value_fields

_WRITTEN_BY = "Written by `python -m deploy.chart.generate` from deploy/chart/values.py; change it there."
_WIDTH = 128


def render_values_yaml() -> str:
    lines = [f"# {_WRITTEN_BY}", "# The only value without a default is images.registry. Full table: docs/operations/values.md"]
    for field in list_value_fields(build_defaults()):
        depth = len(field.path) - 1
        if depth == 0:
            lines.append("")
        if not _is_explained_elsewhere(field):
            lines += _wrap_comment(field.sentence, depth)
        value = "" if field.group and field.default else f" {_dump_yaml(field.default)}"
        lines.append(f"{'  ' * depth}{field.path[-1]}:{value}")
    return "\n".join(lines) + "\n"


def _is_explained_elsewhere(field: ValueField) -> bool:
    """Requests and limits are the same everywhere; the reference explains them."""
    return "resources" in field.path[:-1] or (field.path[0] == "images" and len(field.path) == 3)


def _wrap_comment(sentence: str, depth: int) -> list[str]:
    indent = "  " * depth + "# "
    return textwrap.wrap(sentence, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _dump_yaml(value: Any) -> str:
    """JSON is YAML, short, and its types are clear."""
    return json.dumps(value, ensure_ascii=False)


def render_reference() -> str:
    lines = ["# Values of the chart", "", f"<!-- {_WRITTEN_BY} -->", "", _INTRODUCTION, ""]
    for field in list_value_fields(build_defaults()):
        if len(field.path) == 1:
            sentence = [f"{field.sentence[:1].upper()}{field.sentence[1:]}."] if field.group else []
            lines += ["", f"## {field.name}", *sentence, "", "| value | type | default | what |", "|---|---|---|---|"]
        if not field.group:
            default = f"`{_dump_yaml(field.default)}`"
            lines.append(f"| `{field.name}` | {field.kind} | {default} | {field.sentence} |".replace('`""`', "empty"))
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "Every key, its bounds and its default. A key that is not here is refused at install, with its name. "
    "Keys below `gpu` that are null come from the preset; the presets are in `helm/audio-tune/files/presets.yaml`."
)
