"""Fixtures of the studio's tests. A test file that uses `group` defines `seeded`, the store that every test gets a copy of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.runner import ScriptedRunner
from tests.fakes.seeded_store import Seeded, copy_of


@pytest.fixture
def group(seeded: Seeded, tmp_path: Path) -> Seeded:
    return copy_of(seeded, tmp_path / "store")


@pytest.fixture
def runner() -> ScriptedRunner:
    return ScriptedRunner()
