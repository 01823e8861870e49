"""The closed JSON schema that Helm checks values against, from the Pydantic model."""

import json
from typing import Any

from deploy.chart.values import ChartValues

_DIALECT = "http://json-schema.org/draft-07/schema#"  # what every Helm 3 and 4 understands


def build_schema() -> dict[str, Any]:
    """Draft 7: definitions inlined, titles left out, defaults left to values.yaml."""
    schema = ChartValues.model_json_schema(by_alias=True)
    closed: dict[str, Any] = _inline_definitions(schema, schema.pop("$defs", {}))
    return {"$schema": _DIALECT, **closed}


def _inline_definitions(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline_definitions(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _inline_definitions({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    kept = {key: value for key, value in node.items() if key not in ("default", "title") or _is_property(key, node)}
    if "patternProperties" in kept:  # names of another pattern are refused
        kept.setdefault("additionalProperties", False)
    return {key: _inline_definitions(value, definitions) for key, value in kept.items()}


def _is_property(key: str, node: dict[str, Any]) -> bool:
    """Whether `default` or `title` is the name of a value here, and so holds a schema."""
    return isinstance(node[key], dict) and "type" in node[key]


def render_schema() -> str:
    return json.dumps(build_schema(), indent=1, ensure_ascii=False) + "\n"
