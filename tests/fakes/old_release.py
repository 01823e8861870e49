"""What Audio Tune 0.1.0 wrote: a store, a registry and what is in them (tests/fixtures/v0_1, made by make_old_store.py there)."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1"


def read_expected() -> dict[str, Any]:
    """What 0.1.0 itself read out of them."""
    found: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
    return found


def unpack(name: str, into: Path) -> Path:
    """`store` or `mlflow`, in a folder of its own."""
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        archive.extractall(into, filter="data")
    return into / name
