"""Kubeflow Pipelines on a lab (AUDIOTUNE_LAB), from its sources: `python -m tests.e2e.kubeflow --sources FOLDER`.

Doing it again changes nothing.
FOLDER is a checkout of github.com/kubeflow/pipelines at the tag to be tried. Go compiles it there, a quarter of an hour the
first time; Argo Workflows comes by Go's module proxy. It owns the namespace `kubeflow` of the lab, single-user.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.e2e.cluster_access import find_obstacle
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.e2e.kubeflow.images import ARGO, KFP, build_images, compile_programs, fetch_argo_sources
from tests.e2e.kubeflow.manifests import KEPT, Object, render, shrink

NAMESPACE = "kubeflow"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kubeflow", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sources", type=Path, required=True, metavar="FOLDER", help="Kubeflow Pipelines' sources")
    parser.add_argument(
        "--programs", type=Path, metavar="FOLDER", help="where compiled programs are kept (default: beside the sources)"
    )
    args = parser.parse_args()
    if reason := find_obstacle(lab_only=True):
        print(f"kubeflow: {reason}", file=sys.stderr)
        return 2
    try:
        print(f"Kubeflow Pipelines {install_kubeflow(args.sources, args.programs or args.sources / '.programs')}")
    except (ClusterError, subprocess.CalledProcessError, ValueError) as e:
        print(f"kubeflow: {e}", file=sys.stderr)
        return 1
    return 0


def install_kubeflow(kfp: Path, folder: Path) -> str:
    """Compiles, builds, applies and waits; returns the API's address as this machine reaches it."""
    cluster = ClusterNamespace(NAMESPACE)
    folder.mkdir(exist_ok=True)
    argo = fetch_argo_sources(kfp, folder)
    with _timed("compiled"):
        compile_programs(kfp, KFP, folder)
        compile_programs(argo, ARGO, folder)
    with _timed("images built and pushed"):
        images = build_images(kfp, folder)
    with tempfile.TemporaryDirectory() as name:
        for overlay in ("cluster-scoped-resources", "env/platform-agnostic"):
            made = [thing for thing in shrink(render(kfp, argo, overlay, Path(name)), images) if not _was_patched(thing, cluster)]
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(made))
    with _timed("all ready"):
        for name in KEPT:  # its pods alone: in the same namespace lie those of runs
            cluster.kubectl("rollout", "status", f"deploy/{name}", "--timeout=900s", timeout_s=910)
    return f"http://{cluster.get_object('service', 'ml-pipeline')['spec']['clusterIP']}:8888"


def _was_patched(thing: Object, cluster: ClusterNamespace) -> bool:
    """Whether it is the launcher's configuration, which an admin may have changed since, as our chart's notes ask for."""
    return thing["metadata"]["name"] == "kfp-launcher" and bool(
        cluster.kubectl("get", "configmap", "kfp-launcher", "--ignore-not-found", "-o", "name")
    )


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
