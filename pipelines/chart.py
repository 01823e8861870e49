"""Writes the compiled pipelines that the chart carries: `python -m pipelines.chart`; --check only lists the files that differ.

They name no bucket, no digest and no GPU. The chart's upload job finishes them with the facts of its cluster (`pipelines.submit
upload`), so the same files serve every cluster, and Helm does not touch the braces that Kubeflow needs.
"""

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
    """File name -> its text."""
    recipe = load_recipe("first_release")
    return {f"{name}.yaml": _HEAD + to_yaml(compile_pipeline(name, recipe)) for name in PIPELINES}


def find_outdated_files(folder: Path = FOLDER) -> list[str]:
    """The files that differ from what the code says, and those that nothing writes."""
    wanted = render_pipelines()
    existing = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | existing.keys() if wanted.get(name) != existing.get(name))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.chart", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something has drifted")
    if parser.parse_args(argv).check:
        outdated = find_outdated_files()
        for name in outdated:
            print(f"{name} has drifted; run python -m pipelines.chart", file=sys.stderr)
        return 1 if outdated else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in render_pipelines().items():
        write_atomic_file(FOLDER / name, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
