"""Compiles a pipeline to the YAML that runs everywhere, adds the drop-downs the SDK cannot write, and lints it.

python -m pipelines.compile full --recipe first_release --out full.yaml
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from audiotune.errors import AudioTuneError, PipelineError
from pipelines.lint import faults_in
from pipelines.recipe import Recipe, load_recipe

PIPELINES = ("prepare", "tune", "full")

# What a run form offers as a drop-down; the API then refuses other values.
LITERALS: dict[str, list[Any]] = {"mode": ["full", "lora"]}


def compiled(name: str, recipe: Recipe) -> list[dict[str, Any]]:
    """The YAML documents of a pipeline: the pipeline spec and, where Kubernetes has a say, the platform spec.

    Raises:
        PipelineError: no such pipeline, or the lint found faults.
    """
    if name not in PIPELINES:
        raise PipelineError(f"no pipeline {name!r}", cure=f"take one of: {', '.join(PIPELINES)}")
    from kfp import compiler

    build = getattr(importlib.import_module(f"pipelines.{name}"), name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build(recipe), str(path))
        documents: list[dict[str, Any]] = [d for d in yaml.safe_load_all(path.read_text()) if d]
    _add_literals(documents[0])
    faults = faults_in(documents)
    if faults:
        raise PipelineError("the compiled pipeline breaks rules: " + "; ".join(faults), where=name)
    return documents


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """One text of all documents, in a stable order of keys."""
    return yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=130)


def _add_literals(spec: dict[str, Any]) -> None:
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, values in LITERALS.items():
        if name in parameters:
            parameters[name]["literals"] = values


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description="Compile a pipeline to YAML.")
    parser.add_argument("pipeline", choices=PIPELINES)
    parser.add_argument("--recipe", default="first_release", help="name of a shipped recipe or a TOML file")
    parser.add_argument("--out", type=Path, help="where to write; default: standard output")
    args = parser.parse_args(argv)
    try:
        text = to_yaml(compiled(args.pipeline, load_recipe(args.recipe)))
    except AudioTuneError as e:
        print(f"compile: {e}", file=sys.stderr)
        return 1
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
        print(f"wrote {args.out}")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
