"""Every step's command prints its help at once, without heavy imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.recipe import STEPS

HEAVY = ("numpy", "torch", "numba", "scipy", "mlflow", "stable_audio_tools", "boto3", "kfp", "matplotlib")
PROBE = """
import sys
from components.executor import run_command_line
try:
    run_command_line("components.{step}", ["--help"])
except SystemExit as end:
    assert end.code == 0
heavy = [name for name in {heavy} if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize("step", STEPS)
def test_help_imports_nothing_heavy(step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(step=step, heavy=HEAVY)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--store" in done.stdout


@pytest.mark.parametrize("step", STEPS)
def test_missing_input_is_named(step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"components.{step}", "--executor-input", "{"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no JSON" in done.stderr.strip().splitlines()[-1]
