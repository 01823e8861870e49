"""Kubeflow Pipelines on the lab, from its sources: `python -m tests.e2e.kubeflow --sources FOLDER`. Doing it again changes nothing.

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

from tests.e2e.kubeflow.images import ARGO, KFP, argo_sources, built, programs
from tests.e2e.kubeflow.manifests import KEPT, Object, render, small
from tests.e2e.lab import Cluster, ClusterError, why_not

NAMESPACE = "kubeflow"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kubeflow", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sources", type=Path, required=True, metavar="FOLDER", help="Kubeflow Pipelines' sources")
    parser.add_argument(
        "--programs", type=Path, metavar="FOLDER", help="where compiled programs are kept (default: beside the sources)"
    )
    args = parser.parse_args()
    if reason := why_not():
        print(f"kubeflow: {reason}", file=sys.stderr)
        return 2
    try:
        print(f"Kubeflow Pipelines {up(args.sources, args.programs or args.sources / '.programs')}")
    except (ClusterError, subprocess.CalledProcessError, ValueError) as e:
        print(f"kubeflow: {e}", file=sys.stderr)
        return 1
    return 0


def up(kfp: Path, folder: Path) -> str:
    """Compiles, builds, applies and waits; returns the API's address as this machine reaches it."""
    cluster = Cluster(NAMESPACE)
    folder.mkdir(exist_ok=True)
    argo = argo_sources(kfp, folder)
    with _timed("compiled"):
        programs(kfp, KFP, folder)
        programs(argo, ARGO, folder)
    with _timed("images built and pushed"):
        images = built(kfp, folder)
    with tempfile.TemporaryDirectory() as name:
        for overlay in ("cluster-scoped-resources", "env/platform-agnostic"):
            made = [thing for thing in small(render(kfp, argo, overlay, Path(name)), images) if not _patched(thing, cluster)]
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(made))
    with _timed("all ready"):
        for name in KEPT:  # its pods alone: in the same namespace lie those of runs
            cluster.kubectl("rollout", "status", f"deploy/{name}", "--timeout=900s", timeout_s=910)
    return f"http://{cluster.found('service', 'ml-pipeline')['spec']['clusterIP']}:8888"


def _patched(thing: Object, cluster: Cluster) -> bool:
    """Whether it is the launcher's configuration that somebody may have changed since, as our chart's notes ask for."""
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
