"""The doctor's checks outside of the namespaces: Kubeflow itself, GPU nodes, images, MLflow, clocks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from audiotune.errors import PipelineError
from pipelines.doctor.findings import CheckTarget, DoctorFinding

_TRIED = (2, 17)
_MOST_SKEW_S = 60.0  # S3 refuses signatures that are 15 minutes off; tokens allow a few minutes
_REFERENCE = re.compile(r"(?P<host>[^/]+)/(?P<path>[^@]+?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:\w+))?$")
_MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " + (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)


def check_kubeflow(target: CheckTarget) -> Iterator[DoctorFinding]:
    """Kubeflow answers, and its version is one that was tried."""
    if target.kubeflow is None:
        yield DoctorFinding("kubeflow", "unknown", "Kubeflow was not asked", "give --endpoint or set AUDIOTUNE_KFP_ENDPOINT")
        return
    try:
        said = target.kubeflow.health()
    except PipelineError as e:
        yield DoctorFinding("kubeflow", "wrong", f"{e.what} in {target.kubeflow.endpoint}", e.cure)
        return
    version = str(said.get("tag_name") or "")
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    kind = "multi-user" if said.get("multi_user") else "single-user"
    if numbers and numbers < _TRIED:
        yield DoctorFinding(
            "kubeflow", "warning", f"Kubeflow Pipelines {version} is older than 2.17, the version tried", "upgrade it"
        )
    else:
        yield DoctorFinding("kubeflow", "well", f"Kubeflow Pipelines {version or 'of unknown version'} answers, {kind}")
    if bool(said.get("multi_user")) != (target.runs != target.home):
        words = f"Kubeflow is {kind}, but runs are expected in {target.runs} and Kubeflow in {target.home}"
        cure = (
            "single-user runs land in Kubeflow's own namespace: leave --namespace out"
            if kind == "single-user"
            else "give --namespace"
        )
        yield DoctorFinding("kubeflow", "wrong", words, cure)


def check_gpus(target: CheckTarget) -> Iterator[DoctorFinding]:
    """Some node has the GPUs that the steps ask for, the labels that they select, and only taints that they tolerate."""
    cluster = target.cluster
    if not cluster.gpus:
        yield DoctorFinding("gpu", "well", "no GPU is asked for; training runs on the CPU")
        return
    nodes = (target.api.get("/api/v1/nodes") or {}).get("items", [])
    asked = f"{cluster.gpus} × {cluster.gpu_resource}"
    labelled = [node for node in nodes if cluster.gpu_node_selector.items() <= (node["metadata"].get("labels") or {}).items()]
    owning = [n for n in labelled if int(n["status"].get("allocatable", {}).get(cluster.gpu_resource, "0")) >= cluster.gpus]
    open_ = [node for node in owning if not list(_find_taints(node, target))]
    room = sum(int(node["status"]["allocatable"][cluster.gpu_resource]) // cluster.gpus for node in open_)
    if open_ and room < (cluster.nodes or 1):
        words = f"training asks for {cluster.nodes} times {asked}; there is room for {room}"
        yield DoctorFinding(
            "gpu", "wrong", words, "add GPU nodes, or lower nodes in the cluster's facts: all training pods must run at once"
        )
    elif open_:
        yield DoctorFinding("gpu", "well", f"{len(open_)} of {len(nodes)} nodes can give {asked}")
    elif owning:
        taints = sorted({taint for node in owning for taint in _find_taints(node, target)})
        cure = "add them to gpu_tolerations, or uncordon the nodes"
        yield DoctorFinding("gpu", "wrong", f"nodes with {asked} keep steps away by {', '.join(taints)}", cure)
    elif not labelled:
        words = f"none of {len(nodes)} nodes has the labels {cluster.gpu_node_selector}"
        yield DoctorFinding("gpu", "wrong", words, "take another GPU preset, or set the labels: kubectl get nodes --show-labels")
    else:
        there = sorted({f"{k}={v}" for n in labelled for k, v in n["status"].get("allocatable", {}).items() if "/" in k})
        words = f"no node can give {asked}; there is {', '.join(there) or 'no device at all'}"
        yield DoctorFinding(
            "gpu", "wrong", words, "is the device plugin running? Or take another preset; steps would wait for ever"
        )


def _find_taints(node: dict[str, Any], target: CheckTarget) -> Iterator[str]:
    ours = [t.model_dump() for t in target.cluster.gpu_tolerations]
    if target.cluster.gpu_taint:
        ours.append({"key": target.cluster.gpu_taint, "operator": "Exists", "value": "", "effect": "NoSchedule"})
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not any(_tolerates_taint(toleration, taint) for toleration in ours):
            yield f"{taint['key']}:{taint['effect']}"


def _tolerates_taint(toleration: dict[str, Any], taint: dict[str, Any]) -> bool:
    if toleration["effect"] and toleration["effect"] != taint["effect"]:
        return False
    if not toleration["key"]:
        return bool(toleration["operator"] == "Exists")
    same_value = toleration["operator"] == "Exists" or toleration["value"] == taint.get("value", "")
    return bool(toleration["key"] == taint["key"] and same_value)


def check_images(target: CheckTarget) -> Iterator[DoctorFinding]:
    """The steps' images are on a node already, or the registry has them."""
    there = _list_node_images(target)
    for name in ("prepare", "train"):
        reference = getattr(target.cluster.images, name)
        if not reference:
            yield DoctorFinding(
                "images", "warning", f"no reference for {name}: the compiled name is taken", "give images in the cluster's facts"
            )
        elif {reference, _strip_tag(reference)} & there:
            yield DoctorFinding("images", "well", f"{name} is on a node already")
        else:
            yield _check_registry(target, name, reference)


def _list_node_images(target: CheckTarget) -> set[str]:
    if target.kubernetes is None:
        return set()
    nodes = (target.kubernetes.get("/api/v1/nodes") or {}).get("items", [])
    return {name for node in nodes for image in node["status"].get("images") or [] for name in image.get("names") or []}


def _strip_tag(reference: str) -> str:
    """The reference without its tag where it has a digest, as nodes name their images."""
    match = _REFERENCE.match(reference)
    return f"{match['host']}/{match['path']}@{match['digest']}" if match and match["digest"] else reference


def _check_registry(target: CheckTarget, name: str, reference: str) -> DoctorFinding:
    match = _REFERENCE.match(reference)
    if not match:
        return DoctorFinding("images", "wrong", f"{reference} is no reference of an image", "write host/path@sha256:...")
    end = match["digest"] or match["tag"] or "latest"
    for scheme in ("https", "http"):
        try:
            url = f"{scheme}://{match['host']}/v2/{match['path']}/manifests/{end}"
            code = httpx.head(url, headers={"Accept": _MANIFESTS}, timeout=5, follow_redirects=True).status_code
        except httpx.HTTPError:
            continue
        if code == 200:
            return DoctorFinding("images", "well", f"{name} is in {match['host']}")
        if code in (401, 403):
            return _check_registry_login(target, name, match["host"])
        return DoctorFinding(
            "images", "wrong", f"{match['host']} has no {name} as {end}", "make images REGISTRY=... and take its digests"
        )
    words = f"{match['host']} does not answer here; nodes may see it all the same"
    return DoctorFinding("images", "unknown", words, f"on a node: crictl pull {reference}")


def _check_registry_login(target: CheckTarget, name: str, host: str) -> DoctorFinding:
    api = target.kubernetes
    path = f"/api/v1/namespaces/{target.runs}/secrets/"
    missing = [s for s in target.cluster.pull_secrets if api is not None and api.get(path + s) is None]
    if target.cluster.pull_secrets and not missing:
        return DoctorFinding(
            "images", "well", f"{name}: {host} asks for a login, which {', '.join(target.cluster.pull_secrets)} holds"
        )
    words = f"{name}: {host} asks for a login, and the Secret {', '.join(missing) or 'for it'} is not there"
    return DoctorFinding("images", "wrong", words, "kubectl create secret docker-registry, and name it in pull_secrets")


def check_mlflow(target: CheckTarget) -> Iterator[DoctorFinding]:
    """MLflow answers at the address that the steps get; from outside the cluster it is asked through Kubernetes' API."""
    url = target.cluster.mlflow
    if not url:
        yield DoctorFinding(
            "mlflow", "wrong", "no MLflow is named: register has nowhere to register", "set mlflow in the cluster's facts"
        )
        return
    said = _ask_mlflow(target, url)
    if said == "OK":
        yield DoctorFinding("mlflow", "well", f"{url} answers")
    else:
        cure = "kubectl get pods; does a NetworkPolicy keep Kubeflow's namespace away from it?"
        yield DoctorFinding("mlflow", "wrong", f"{url} does not answer as MLflow does ({said[:80]})", cure)


def _ask_mlflow(target: CheckTarget, url: str) -> str:
    parts = urlsplit(url)
    names = (parts.hostname or "").split(".")
    outside = target.kubernetes is not None and not target.kubernetes.inside
    if outside and (len(names) <= 2 or names[2:3] == ["svc"]):
        namespace = names[1] if len(names) > 1 else target.runs
        path = f"/api/v1/namespaces/{namespace}/services/{names[0]}:{parts.port or 80}/proxy/health"
        return target.api.get_text(path) or "no such Service"
    try:
        return httpx.get(f"{url.rstrip('/')}/health", timeout=5).text
    except httpx.HTTPError as e:
        return str(e)


def check_clock(target: CheckTarget) -> Iterator[DoctorFinding]:
    """This machine, Kubernetes and Kubeflow agree on the time."""
    dates = {}
    if target.kubernetes is not None:
        dates["Kubernetes"] = target.kubernetes.server_date()
    if target.kubeflow is not None:
        dates["Kubeflow"] = target.kubeflow.server_date()
    for who, date in dates.items():
        if not date:
            yield DoctorFinding("clock", "unknown", f"{who} tells no time")
            continue
        off_s = parsedate_to_datetime(date).timestamp() - time.time()
        if abs(off_s) > _MOST_SKEW_S:
            words = f"the clock of {who} is {off_s:+.0f} s off this machine's; the store refuses requests that are 15 minutes off"
            yield DoctorFinding("clock", "wrong", words, "set the clocks by NTP")
        else:
            yield DoctorFinding("clock", "well", f"{who} has the same time")
