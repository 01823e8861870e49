"""A request's bounds and a record's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from audiotune.domain.generation import GenerationRecord, GenerationRequest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""), ("prompt", "x" * 1001), ("prompt", None), ("negative_prompt", "x" * 1001),
        ("seconds", 0), ("seconds", -1), ("seconds", 1e9), ("seconds", float("nan")), ("seconds", float("inf")),
        ("steps", 0), ("steps", 10**9), ("steps", 1.5), ("guidance", -1), ("guidance", 1e9), ("guidance", float("nan")),
        ("seed", -1), ("seed", 2**31), ("seed", 1e300), ("count", 0), ("count", 9), ("format", "exe"), ("format", "../wav"),
        ("init_strength", 0), ("init_strength", 1.01), ("sampler", "x" * 61), ("made_up", 1),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_its_name(field: str, value: Any) -> None:
    body = json.dumps({"prompt": "drone", field: value})
    with pytest.raises(ValidationError) as e:
        GenerationRequest.model_validate_json(body)
    assert e.value.errors()[0]["loc"][0] == field


def test_a_prompt_is_enough() -> None:
    assert GenerationRequest(prompt="drone").count == 1


def test_a_record_tells_all_that_is_needed_to_make_the_sound_again() -> None:
    record = GenerationRecord(
        sound="a" * 64, blob="", format="wav", prompt="drone", seconds=2, steps=9, guidance=3, seed=7, sampler="k-heun",
        release="ours", version="3", digest="c" * 64, notice="by ana",
    )  # fmt: skip
    tags = record.file_tags()
    for word in ("seed=7", "steps=9", "guidance=3.0", "sampler=k-heun", f"digest={'c' * 64}", "Synthetic"):
        assert word in tags["comment"]
    assert tags["title"] == "drone"
    assert tags["copyright"] == "by ana"
