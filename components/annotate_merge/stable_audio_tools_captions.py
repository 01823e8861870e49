"""The caption of each sound, for stable-audio-tools: its loader calls `get_custom_metadata` for every file that it reads.

This file is copied into exported datasets as `captions.py`, beside `captions.json`. It runs where Audio Tune is not installed,
so it imports the standard library only.
"""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any


@functools.cache
def _load_captions() -> dict[str, dict[str, Any]]:
    """File name -> its captions, the main one first, and its length in seconds."""
    table: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "captions.json").read_text(encoding="utf-8"))
    return table


def get_custom_metadata(info: dict[str, Any], audio: object) -> dict[str, Any]:
    """Prompt and length in seconds of the file at info["relpath"].

    The prompt is the main caption half of the time and one of the others else, so that training sees all of them.
    """
    entry = _load_captions()[Path(info["relpath"]).name]
    main, *others = entry["captions"]
    prompt = random.choice(others) if others and random.random() < 0.5 else main
    return {"prompt": prompt, "seconds_start": 0, "seconds_total": entry["seconds_total"]}
