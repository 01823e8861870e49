"""Compiles a pipeline to the YAML that runs everywhere, with recipe and cluster in it, and lints it.

    python -m pipelines.compile full --recipe first_release --out full.yaml
    python -m pipelines.compile full --for-cluster cluster.json --images deploy/values/images.yaml --preset l4-24gb

Only `compile_structure` needs the kfp SDK; pipelines.finish fills in everything else.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from audiotune.errors import AudioTuneError, PipelineError
from audiotune.store.atomic_files import write_atomic_file
from pipelines.cluster.settings import Cluster, apply_images, apply_preset, load_cluster
from pipelines.documents import PIPELINES, Documents, read_documents, to_yaml
from pipelines.finish import finish_pipeline
from pipelines.recipe import Recipe, load_recipe


def compile_structure(name: str) -> Documents:
    """The pipeline's tasks and how they are connected, as the kfp SDK compiles them.

    Raises:
        PipelineError: no such pipeline.
    """
    if name not in PIPELINES:
        raise PipelineError(f"no pipeline {name!r}", cure=f"take one of: {', '.join(PIPELINES)}")
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(getattr(importlib.import_module(f"pipelines.{name}"), name), str(path))
        return read_documents(path)


def compile_pipeline(name: str, recipe: Recipe, cluster: Cluster | None = None) -> Documents:
    """The YAML documents of a pipeline: the pipeline spec and the platform spec.

    Args:
        name: prepare, tune or full.
        recipe, cluster: as in finish_pipeline.

    Raises:
        PipelineError: no such pipeline, or the lint found faults.
    """
    return finish_pipeline(compile_structure(name), recipe, cluster)


def cluster_from_flags(args: argparse.Namespace) -> Cluster | None:
    """The cluster that the flags --for-cluster, --images and --preset describe; None without any of them."""
    if not (args.for_cluster or args.images or args.preset):
        return None
    cluster = load_cluster(args.for_cluster) if args.for_cluster else Cluster()
    if args.preset:
        cluster = apply_preset(cluster, args.preset)
    return apply_images(cluster, args.images) if args.images else cluster


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description="Compile a pipeline to YAML.")
    parser.add_argument("pipeline", choices=PIPELINES)
    parser.add_argument("--recipe", default="", help="name of a shipped recipe or a TOML file (default: the cluster's)")
    parser.add_argument("--out", type=Path, help="where to write; default: standard output")
    parser.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster, as JSON or YAML")
    parser.add_argument("--images", type=Path, metavar="FILE", help="values file with the images' digests")
    parser.add_argument("--preset", default="", help="GPU preset of the chart, as in l4-24gb")
    args = parser.parse_args(argv)
    try:
        cluster = cluster_from_flags(args)
        recipe = load_recipe(args.recipe or (cluster.recipe if cluster else "") or "first_release")
        text = to_yaml(compile_pipeline(args.pipeline, recipe, cluster))
    except AudioTuneError as e:
        print(f"compile: {e}", file=sys.stderr)
        return 1
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic_file(args.out, text)
        print(f"wrote {args.out}")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
