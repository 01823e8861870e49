"""Encode, finetune and unwrap with a real, very small Stable Audio model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    from tests.fakes.small_training import world

    built = world(tmp_path_factory.mktemp("training"))
    built.encoded()
    return built


def test_a_killed_run_that_is_resumed_ends_bit_identical(made) -> None:
    command = [sys.executable, "-m", "tests.integration.training_driver", str(made.folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for mode in ("full", "lora"):
        whole = found.pop(f"{mode}, whole")
        assert whole["step"] == 9
        assert whole["ema"] != whole["weights"]
        others = {name: blobs for name, blobs in found.items() if name.startswith(mode)}
        assert len(others) == (4 if mode == "full" else 1)
        assert all(blobs == whole for blobs in others.values()), others
