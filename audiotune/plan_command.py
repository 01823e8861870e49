"""`audiotune plan`: what a training takes of memory, disk and time, before it runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]


def add_plan_command(parser: argparse.ArgumentParser) -> None:
    """Adds the flags. The handler takes the parsed arguments and returns the exit code."""
    parser.add_argument("--recipe", default="first_release", help="a recipe's file, or the name of one that ships")
    parser.add_argument("--base", default="", help="another base than the recipe's")
    parser.add_argument(
        "--dataset", default="", help="a manifest of datasets or latents: its longest sound and its number of sounds"
    )
    parser.add_argument("--clips", default="0", help="number of sounds, where there is no dataset yet")
    parser.add_argument("--seconds", default="0", help="length of the longest sound; default: the recipe's max_s")
    parser.add_argument("--card", default="", help="memory of the GPU, as in 24GB: says whether it fits, and what makes it fit")
    parser.add_argument("--store", default=os.environ.get("AUDIOTUNE_STORE", ""), help="where bases that were fetched lie")
    parser.add_argument("--json", default="", help="file to write the plan to; - prints it instead of the table")
    parser.set_defaults(run=_run_plan)


def _run_plan(args: argparse.Namespace) -> int:
    """Runs in a process of its own: the training stands above this package."""
    given = [x for name, value in vars(args).items() if name != "run" and value for x in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH", "")]))}
    return subprocess.run([sys.executable, "-m", "pipelines.plan", *given], env=environment).returncode
