"""Writes an agreement as `agreement.toml`, which `load_agreement` reads back as the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from audiotune.governance.agreement_record import Agreement

_HEAD = "# The group's agreement. `audiotune agreement diff FILE` shows what an edited copy changes, and `propose` proposes it.\n"


def format_agreement(agreement: Agreement) -> str:
    """The text of its file, in a fixed order; what is as by default stands in it, too, except in members and rules."""
    data = agreement.model_dump(mode="json")
    members, decisions, notices = data.pop("members"), data.pop("decisions"), data.pop("base_model_notices")
    lines = [f"{name} = {_format_value(value)}" for name, value in data.items() if value is not None]
    for member in members:
        lines += ["", "[[members]]", *_format_fields({name: value for name, value in member.items() if value})]
    for kind, rule in decisions.items():
        lines += ["", f"[decisions.{kind}]", *_format_fields(rule)]
    if notices:
        lines += [
            "",
            "[base_model_notices]",
            *(f"{_format_value(base)} = {_format_value(text)}" for base, text in notices.items()),
        ]
    return _HEAD + "\n".join(lines) + "\n"


def _format_fields(fields: Mapping[str, Any]) -> Iterator[str]:
    return (f"{name} = {_format_value(value)}" for name, value in fields.items())


def _format_value(value: Any) -> str:
    """TOML writes text, numbers, truth values and lists of text as JSON does, except U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
