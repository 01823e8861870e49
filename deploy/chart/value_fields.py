"""Lists every value of the model with its path, type in words, default, description and setting."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from deploy.chart.schema import build_schema
from deploy.chart.service_settings import ServiceSetting, get_setting
from deploy.chart.values import ChartValues


@dataclass(frozen=True)
class ValueField:
    """One value, or one group of them.

    Attributes:
        path: keys from the top.
        group: whether it holds other values.
        default: as Helm sees it.
        sentence: what it is.
        kind: its type and bounds in words; empty for groups.
        setting: the service's setting that it sets.
    """

    path: tuple[str, ...]
    group: bool
    default: Any
    sentence: str
    kind: str
    setting: ServiceSetting | None = None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def build_defaults() -> ChartValues:
    """The defaults, unchecked: images.registry has none, and a rule requires it."""
    return ChartValues.model_construct(**{name: info.get_default() for name, info in ChartValues.model_fields.items()})


def list_value_fields(model: BaseModel, schema: dict[str, Any] | None = None, path: tuple[str, ...] = ()) -> Iterator[ValueField]:
    """All values and groups in the order of the model, each group before its values."""
    schema = build_schema() if schema is None else schema
    for name, info in type(model).model_fields.items():
        key = info.alias or name
        value = getattr(model, name)
        below = schema["properties"][key]
        here = (*path, key)
        group = isinstance(value, BaseModel)
        dumped = value.model_dump(mode="json", by_alias=True) if group else _dump_field(model, name)
        kind = "" if group else describe_type(below)
        yield ValueField(here, group, dumped, info.description or "", kind, get_setting(info))
        if group:
            yield from list_value_fields(value, below, here)


def _dump_field(model: BaseModel, name: str) -> Any:
    return next(iter(model.model_dump(mode="json", include={name}).values()))


def describe_type(schema: dict[str, Any]) -> str:
    """A schema in words, as in `integer, 1 to 65535`."""
    if "anyOf" in schema:
        return " or ".join(describe_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(choice) if not isinstance(choice, str) else choice}`" for choice in schema["enum"])
    name = {"object": "map", "array": "list"}.get(schema.get("type", ""), schema.get("type", "anything"))
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is not None and high is not None:
        return f"{name}, {'above ' if 'exclusiveMinimum' in schema else ''}{low:g} to {high:.12g}"
    return f"{name}, at least {low:g}" if low is not None else name
