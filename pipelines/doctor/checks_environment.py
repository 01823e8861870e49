"""The doctor's checks outside of the namespaces: Kubeflow itself, GPU nodes, images, MLflow, clocks."""

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from audiotune.errors import PipelineError
from pipelines.cluster.namespace import build_key_command
from pipelines.doctor.findings import CheckResult, CheckTarget

_TESTED_VERSION = (2, 17)
_MOST_SKEW_S = 60.0  # S3 refuses signatures that are 15 minutes off; tokens allow a few minutes
_REFERENCE = re.compile(r"(?P<host>[^/]+)/(?P<path>[^@]+?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:\w+))?$")
_MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " + (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)


def check_kubeflow(target: CheckTarget) -> Iterator[CheckResult]:
    """Kubeflow answers, and its version is one that was tested."""
    if target.kubeflow is None:
        yield "unknown", "Kubeflow was not asked", "give --endpoint or set AUDIOTUNE_KFP_ENDPOINT"
        return
    try:
        health = target.kubeflow.health()
    except PipelineError as e:
        yield "wrong", f"{e.what} in {target.kubeflow.endpoint}", e.cure
        return
    version = str(health.get("tag_name") or "")
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    kind = "multi-user" if health.get("multi_user") else "single-user"
    if numbers and numbers < _TESTED_VERSION:
        yield "warning", f"Kubeflow Pipelines {version} is older than 2.17, the version tried", "upgrade it"
    else:
        yield "well", f"Kubeflow Pipelines {version or 'of unknown version'} answers, {kind}"
    if bool(health.get("multi_user")) != (target.runs != target.home):
        words = f"Kubeflow is {kind}, but runs are expected in {target.runs} and Kubeflow in {target.home}"
        omit = "single-user runs land in Kubeflow's own namespace: leave --namespace out"
        yield "wrong", words, omit if kind == "single-user" else "give --namespace"


def check_gpus(target: CheckTarget) -> Iterator[CheckResult]:
    """Some node has the GPUs that the steps ask for, the labels that they select, and only taints that they tolerate."""
    cluster = target.cluster
    if not cluster.gpus:
        yield "well", "no GPU is asked for; training runs on the CPU"
        return
    nodes = (target.api.get("/api/v1/nodes") or {}).get("items", [])
    needed = f"{cluster.gpus} × {cluster.gpu_resource}"
    labelled = [node for node in nodes if cluster.gpu_node_selector.items() <= (node["metadata"].get("labels") or {}).items()]
    owning = [n for n in labelled if int(n["status"].get("allocatable", {}).get(cluster.gpu_resource, "0")) >= cluster.gpus]
    usable = [node for node in owning if not list(_find_taints(node, target))]
    places = sum(int(node["status"]["allocatable"][cluster.gpu_resource]) // cluster.gpus for node in usable)
    if usable and places < (cluster.nodes or 1):
        words = f"training asks for {cluster.nodes} times {needed}; there is room for {places}"
        yield "wrong", words, "add GPU nodes, or lower nodes in the cluster's facts: all training pods must run at once"
    elif usable:
        yield "well", f"{len(usable)} of {len(nodes)} nodes can give {needed}"
    elif owning:
        taints = sorted({taint for node in owning for taint in _find_taints(node, target)})
        cure = "add them to gpu_tolerations, or uncordon the nodes"
        yield "wrong", f"nodes with {needed} keep steps away by {', '.join(taints)}", cure
    elif not labelled:
        words = f"none of {len(nodes)} nodes has the labels {cluster.gpu_node_selector}"
        yield "wrong", words, "take another GPU preset, or set the labels: kubectl get nodes --show-labels"
    else:
        there = sorted({f"{k}={v}" for n in labelled for k, v in n["status"].get("allocatable", {}).items() if "/" in k})
        words = f"no node can give {needed}; there is {', '.join(there) or 'no device at all'}"
        yield "wrong", words, "is the device plugin running? Or take another preset; steps would wait for ever"


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


def check_images(target: CheckTarget) -> Iterator[CheckResult]:
    """The steps' images are on a node already, or the registry has them."""
    there = _list_node_images(target)
    for name in ("prepare", "train"):
        reference = getattr(target.cluster.images, name)
        if not reference:
            yield "warning", f"no reference for {name}: the compiled name is taken", "give images in the cluster's facts"
        elif {reference, _strip_tag(reference)} & there:
            yield "well", f"{name} is on a node already"
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


def _check_registry(target: CheckTarget, name: str, reference: str) -> CheckResult:
    match = _REFERENCE.match(reference)
    if not match:
        return "wrong", f"{reference} is no reference of an image", "write host/path@sha256:..."
    end = match["digest"] or match["tag"] or "latest"
    for scheme in ("https", "http"):
        try:
            url = f"{scheme}://{match['host']}/v2/{match['path']}/manifests/{end}"
            code = httpx.head(url, headers={"Accept": _MANIFESTS}, timeout=5, follow_redirects=True).status_code
        except httpx.HTTPError:
            continue
        if code == 200:
            return "well", f"{name} is in {match['host']}"
        if code in (401, 403):
            return _check_registry_login(target, name, match["host"])
        return "wrong", f"{match['host']} has no {name} as {end}", "make images REGISTRY=... and take its digests"
    words = f"{match['host']} does not answer here; nodes may see it all the same"
    return "unknown", words, f"on a node: crictl pull {reference}"


def _check_registry_login(target: CheckTarget, name: str, host: str) -> CheckResult:
    api = target.kubernetes
    path = f"/api/v1/namespaces/{target.runs}/secrets/"
    missing = [s for s in target.cluster.pull_secrets if api is not None and api.get(path + s) is None]
    if target.cluster.pull_secrets and not missing:
        return "well", f"{name}: {host} asks for a login, which {', '.join(target.cluster.pull_secrets)} holds"
    words = f"{name}: {host} asks for a login, and the Secret {', '.join(missing) or 'for it'} is not there"
    return "wrong", words, "kubectl create secret docker-registry, and name it in pull_secrets"


def check_mlflow(target: CheckTarget) -> Iterator[CheckResult]:
    """MLflow answers at the address that the steps get, and their key of it is where they run.

    From outside the cluster the request goes through Kubernetes' API.
    """
    url = target.cluster.mlflow
    if not url:
        yield "wrong", "no MLflow is named: register has nowhere to register", "set mlflow in the cluster's facts"
        return
    answer = _ask_service(target, url, "health")
    if answer == "OK":
        yield "well", f"{url} answers"
    else:
        cure = "kubectl get pods; does a NetworkPolicy keep Kubeflow's namespace away from it?"
        yield "wrong", f"{url} does not answer as MLflow does ({answer[:80]})", cure
    name = target.cluster.mlflow_secret
    if not name:
        cure = "put MLflow behind keys, and name the Secret with the steps' own in the cluster's facts: mlflow_secret"
        yield "warning", "the facts name no key of MLflow: whoever reaches it may move aliases and forge releases", cure
    elif not _holds_key(target, name, "token"):
        cure = f"copy the release's Secret: {build_key_command(name, target.runs, 'token')}"
        yield (
            "wrong",
            f"Secret {name} in {target.runs} lacks token; finetune and register cannot write to MLflow without it",
            cure,
        )


def check_governance(target: CheckTarget) -> Iterator[CheckResult]:
    """The governance service is ready at the address that ingest gets, and ingest's key of it is where ingest runs."""
    url, name = target.cluster.governance, target.cluster.governance_secret
    if not url:
        yield "well", "ingest itself writes agreement and consents: the cluster's facts name no governance service"
        return
    answer = _ask_service(target, url, "ready")
    if answer == "OK":
        yield "well", f"{url} is ready"
    else:
        cure = "kubectl get pods; its log says what it cannot read. No ingest and no sign-in works without it"
        yield "wrong", f"{url} is not ready ({answer[:80]})", cure
    if not _holds_key(target, name, "key"):
        cure = f"copy the release's Secret: {build_key_command(name, target.runs, 'key')}"
        yield "wrong", f"Secret {name} in {target.runs} lacks key; ingest cannot ask the governance service without it", cure


def _holds_key(target: CheckTarget, name: str, key: str) -> bool:
    """Whether a Secret where the runs are has this key."""
    secret = target.api.get(f"/api/v1/namespaces/{target.runs}/secrets/{name}") or {}
    return bool((secret.get("data") or {}).get(key))


def _ask_service(target: CheckTarget, url: str, page: str) -> str:
    """The page that says how a service is; in words why there is none."""
    parts = urlsplit(url)
    names = (parts.hostname or "").split(".")
    outside = target.kubernetes is not None and not target.kubernetes.inside
    if outside and (len(names) <= 2 or names[2:3] == ["svc"]):
        namespace = names[1] if len(names) > 1 else target.runs
        path = f"/api/v1/namespaces/{namespace}/services/{names[0]}:{parts.port or 80}/proxy/{page}"
        return target.api.get_text(path) or "no such Service"
    try:
        return httpx.get(f"{url.rstrip('/')}/{page}", timeout=5).text
    except httpx.HTTPError as e:
        return str(e)


def check_clock(target: CheckTarget) -> Iterator[CheckResult]:
    """This machine, Kubernetes and Kubeflow agree on the time."""
    dates = {}
    if target.kubernetes is not None:
        dates["Kubernetes"] = target.kubernetes.server_date()
    if target.kubeflow is not None:
        dates["Kubeflow"] = target.kubeflow.server_date()
    for server, date in dates.items():
        if not date:
            yield "unknown", f"{server} tells no time"
            continue
        off_s = parsedate_to_datetime(date).timestamp() - time.time()
        if abs(off_s) > _MOST_SKEW_S:
            words = (
                f"the clock of {server} is {off_s:+.0f} s off this machine's; the store refuses requests that are 15 minutes off"
            )
            yield "wrong", words, "set the clocks by NTP"
        else:
            yield "well", f"{server} has the same time"
