"""Kubeflow Pipelines' own manifests, reduced so that they fit one node: the same objects and settings, other images, no UI.

Replaced: `mysql` is MariaDB, `seaweedfs` is MinIO behind the same Service, `metadata-grpc` is the metadata store's
Python package behind its own gRPC interface. Left out: the UI, the cache of v1, the visualisation and viewer servers, recurring runs.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
KEPT = ("workflow-controller", "ml-pipeline", "ml-pipeline-persistenceagent", "metadata-grpc-deployment", "mysql", "seaweedfs")
_REMOTE = "https://github.com/argoproj/argo-workflows/manifests/"


def render(kfp: Path, argo: Path, overlay: str, folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of Kubeflow's overlay; Argo's part comes from its sources beside, not from GitHub.

    Args:
        kfp: Kubeflow Pipelines' sources.
        argo: Argo Workflows' sources, of the version that those name.
        overlay: folder below manifests/kustomize, as in env/platform-agnostic.
        folder: an empty folder to work in.
    """
    root = folder / "kustomize"
    if not root.exists():
        shutil.copytree(kfp / "manifests" / "kustomize", root)
        shutil.copytree(argo / "manifests", root / "argo-workflows")
        for path in (root / "third-party" / "argo").rglob("kustomization.yaml"):
            _localise(path, root)
    rendered = subprocess.run(["kubectl", "kustomize", str(root / overlay)], capture_output=True, text=True, check=True).stdout
    return [found for found in yaml.safe_load_all(rendered) if found]


def _localise(path: Path, root: Path) -> None:
    """Points a kustomization's remote resources at the copy beside."""
    up = "../" * len(path.parent.relative_to(root).parts)
    lines = [
        f"- {up}argo-workflows/{line.removeprefix(f'- {_REMOTE}').partition('?')[0]}" if line.startswith(f"- {_REMOTE}") else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")


def shrink(objects: list[Object], images: dict[str, str]) -> list[Object]:
    """The objects that a run needs, with our images.

    Args:
        objects: what `render` made.
        images: `backend`, `metadata`, `mysql` and `store`, as the node pulls them.
    """
    return [_adapt(copy.deepcopy(o), images) for o in objects if o["kind"] != "Deployment" or o["metadata"]["name"] in KEPT]


def _adapt(thing: Object, images: dict[str, str]) -> Object:
    if thing["kind"] != "Deployment":
        return thing
    pod = thing["spec"]["template"]["spec"]
    pod.pop("initContainers", None)  # they wait for others with an image of the internet; a restart waits as well
    container = pod["containers"][0]
    container.setdefault("imagePullPolicy", "IfNotPresent")
    container["resources"] = {"requests": {"cpu": "20m"}}
    _CHANGES.get(thing["metadata"]["name"], _backend)(pod, container, images)
    return thing


def _backend(_pod: Object, container: Object, images: dict[str, str]) -> None:
    container["image"] = images["backend"]
    container["args"] = [images["backend"] if "argoexec" in word else word for word in container.get("args", [])]
    for variable in container.get("env", []):
        if variable["name"] in ("V2_DRIVER_IMAGE", "V2_LAUNCHER_IMAGE"):
            variable["value"] = images["backend"]


def _api(pod: Object, container: Object, images: dict[str, str]) -> None:
    _backend(pod, container, images)
    container["command"] = ["apiserver", "--config=/config", "--sampleconfig=/tmp/none.json", "-logtostderr=true"]
    container["args"] = ["--logLevel=info"]
    container["startupProbe"]["failureThreshold"] = 60  # it makes its tables, on a machine that may be busy


def _agent(pod: Object, container: Object, images: dict[str, str]) -> None:
    _backend(pod, container, images)
    container["command"] = ["persistence_agent", "--logtostderr=true", "--namespace=$(NAMESPACE)", "--executionType=Workflow"]
    container["args"] = ["--ttlSecondsAfterWorkflowFinish=$(TTL_SECONDS_AFTER_WORKFLOW_FINISH)", "--numWorker=$(NUM_WORKERS)"]


def _controller(pod: Object, container: Object, images: dict[str, str]) -> None:
    _backend(pod, container, images)
    pod["securityContext"]["runAsUser"] = 8737


def _metadata(_pod: Object, container: Object, images: dict[str, str]) -> None:
    container["image"] = images["metadata"]
    container.pop("command"), container.pop("args")


def _mysql(pod: Object, container: Object, images: dict[str, str]) -> None:
    container["image"] = images["mysql"]
    for name in ("args", "livenessProbe", "startupProbe"):
        container.pop(name, None)
    container["readinessProbe"] = {"tcpSocket": {"port": 3306}}
    pod["securityContext"] = {"fsGroup": 999, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def _store(_pod: Object, container: Object, images: dict[str, str]) -> None:
    container["image"] = images["store"]
    for name in ("lifecycle", "startupProbe", "livenessProbe", "envFrom"):
        container.pop(name, None)
    container["args"] = ["server", "/data", "--address", ":8333"]
    container["readinessProbe"] = {"httpGet": {"path": "/minio/health/live", "port": 8333}}
    container["env"] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": key}}}
        for name, key in (("MINIO_ROOT_USER", "accesskey"), ("MINIO_ROOT_PASSWORD", "secretkey"))
    ]


_CHANGES = {
    "ml-pipeline": _api,
    "ml-pipeline-persistenceagent": _agent,
    "workflow-controller": _controller,
    "metadata-grpc-deployment": _metadata,
    "mysql": _mysql,
    "seaweedfs": _store,
}
