"""Walks the values model: every knob with its path, type in words, default and sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from deploy.chart.schema import build_schema


@dataclass(frozen=True)
class ValueField:
    """One value, or one group of them.

    Attributes:
        path: keys from the top.
        group: whether it holds other knobs.
        default: as Helm sees it.
        words: what it is, one sentence.
        kind: its type and bounds in words; empty for groups.
    """

    path: tuple[str, ...]
    group: bool
    default: Any
    words: str
    kind: str

    @property
    def name(self) -> str:
        return ".".join(self.path)


def list_value_fields(model: BaseModel, made: dict[str, Any] | None = None, path: tuple[str, ...] = ()) -> Iterator[ValueField]:
    """Groups before what is in them, in the order of the model."""
    made = build_schema() if made is None else made
    for name, info in type(model).model_fields.items():
        key = info.alias or name
        value = getattr(model, name)
        card = made["properties"][key]
        here = (*path, key)
        group = isinstance(value, BaseModel)
        dumped = value.model_dump(mode="json", by_alias=True) if group else _dump_field(model, name)
        yield ValueField(here, group, dumped, info.description or "", "" if group else describe_type(card))
        if group:
            yield from list_value_fields(value, card, here)


def _dump_field(model: BaseModel, name: str) -> Any:
    return next(iter(model.model_dump(mode="json", include={name}).values()))


def describe_type(card: dict[str, Any]) -> str:
    """A schema in words, as in `integer, 1 to 65535`."""
    if "anyOf" in card:
        return " or ".join(describe_type(choice) for choice in card["anyOf"])
    if "enum" in card:
        return ", ".join(f"`{json.dumps(choice) if not isinstance(choice, str) else choice}`" for choice in card["enum"])
    words = {"object": "map", "array": "list"}.get(card.get("type", ""), card.get("type", "anything"))
    low, high = card.get("minimum", card.get("exclusiveMinimum")), card.get("maximum")
    if low is not None and high is not None:
        return f"{words}, {'above ' if 'exclusiveMinimum' in card else ''}{low:g} to {high:.12g}"
    return f"{words}, at least {low:g}" if low is not None else words
