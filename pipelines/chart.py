"""Writes the compiled pipelines that the chart carries: `python -m pipelines.chart`; with --check it only tells what has drifted.

They are neutral: no bucket, no digest, no GPU. The chart's upload job finishes them from its own facts (`pipelines.submit upload`),
so one text serves every cluster, and Helm has nothing to fill into braces that Kubeflow needs for itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from audiotune.store.atomic_files import write_atomic_file
from pipelines.compile import compile_pipeline
from pipelines.documents import PIPELINES, to_yaml
from pipelines.recipe import load_recipe

FOLDER = Path(__file__).parent.parent / "helm" / "audio-tune" / "files" / "pipelines"
_HEAD = "# Written by `python -m pipelines.chart`. Finished for a cluster by `python -m pipelines.submit upload`.\n"


def render_pipelines() -> dict[str, str]:
    """File name -> what should stand there."""
    recipe = load_recipe("first_release")
    return {f"{name}.yaml": _HEAD + to_yaml(compile_pipeline(name, recipe)) for name in PIPELINES}


def find_outdated_files(folder: Path = FOLDER) -> list[str]:
    """The files that differ from what the code says, and those that nothing writes."""
    wanted = render_pipelines()
    there = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.chart", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something has drifted")
    if parser.parse_args(argv).check:
        found = find_outdated_files()
        print(
            "\n".join(f"{name} has drifted; run python -m pipelines.chart" for name in found),
            file=sys.stderr,
            end="\n" * bool(found),
        )
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in render_pipelines().items():
        write_atomic_file(FOLDER / name, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
