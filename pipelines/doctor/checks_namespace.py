"""The doctor's checks in the namespaces: launcher, Secrets, rights, PodSecurity, and Argo's retries."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml

from pipelines.cluster.namespace import (
    KEYS,
    LAUNCHER,
    LOG_SECRET,
    REPOSITORIES,
    REPOSITORY,
    build_launcher_data,
    build_log_repository,
    build_patch_command,
    build_secret_command,
    build_step_rules,
    uses_several_nodes,
)
from pipelines.doctor.findings import CheckResult, CheckTarget


def check_launcher(target: CheckTarget) -> Iterator[CheckResult]:
    """ConfigMap kfp-launcher points at our bucket, our endpoint and our Secret."""
    if not target.cluster.store.startswith("s3://"):
        yield "unknown", "the cluster's facts name no bucket", "set store, as in s3://jam, in the cluster's facts"
        return
    cure = build_patch_command(target.cluster, target.runs)
    if target.runs != target.home:
        cure = "apply what `python -m pipelines.namespace` prints"
    found = target.api.get(f"/api/v1/namespaces/{target.runs}/configmaps/{LAUNCHER}")
    if found is None:
        yield "wrong", f"no ConfigMap {LAUNCHER} in {target.runs}: artifacts would go elsewhere", cure
        return
    wanted = build_launcher_data(target.cluster)
    faults = list(_find_differences(found.get("data") or {}, wanted))
    if faults:
        yield "wrong", f"{LAUNCHER}: {'; '.join(faults)}", cure
    else:
        yield "well", f"artifacts go to {wanted['defaultPipelineRoot']}"


def _find_differences(data: dict[str, Any], wanted: dict[str, str]) -> Iterator[str]:
    root, ours = str(data.get("defaultPipelineRoot", "")), wanted["defaultPipelineRoot"]
    bucket = ours.split("/")[2]
    if not (root == f"s3://{bucket}" or root.startswith(f"s3://{bucket}/")):
        yield f"defaultPipelineRoot is {root or 'not set'}, not in s3://{bucket}"
    default = ((yaml.safe_load(data.get("providers") or "") or {}).get("s3") or {}).get("default") or {}
    mine = yaml.safe_load(wanted["providers"])["s3"]["default"]
    for key in ("endpoint", "disableSSL"):
        if default.get(key) != mine[key]:
            yield f"{key} is {default.get(key)!r}, not {mine[key]!r}"
    given, needed = default.get("credentials", {}).get("secretRef", {}), mine["credentials"]["secretRef"]
    for key, value in needed.items():
        if given.get(key) != value:
            yield f"{key} is {given.get(key)!r}, not {value!r}"


def check_logs(target: CheckTarget) -> Iterator[CheckResult]:
    """Argo archives the logs of runs in our bucket. In Kubeflow's own namespace Kubeflow decides where."""
    if target.runs == target.home:
        yield "well", "Kubeflow keeps them in its own store"
        return
    found = target.api.get(f"/api/v1/namespaces/{target.runs}/configmaps/{REPOSITORIES}") or {}
    named = (found.get("metadata", {}).get("annotations") or {}).get(REPOSITORY, "")
    text = (found.get("data") or {}).get(named)
    wanted = yaml.safe_load(build_log_repository(target.cluster))["s3"]
    given = (yaml.safe_load(text) or {}).get("s3") or {} if text else {}
    off = [
        key for key in ("endpoint", "bucket", "insecure", "accessKeySecret", "secretKeySecret") if given.get(key) != wanted[key]
    ]
    cure = "apply what `python -m pipelines.namespace` prints; where a Kubeflow profile owns that ConfigMap, see deploy/kfp/README.md"
    if text is None:
        words = f"no ConfigMap {REPOSITORIES} with a default in {target.runs}: Argo archives logs in Kubeflow's store"
        yield "wrong", f"{words}, which the pods of a run do not reach", cure
    elif off:
        words = f"{REPOSITORIES}: {', '.join(off)} lead elsewhere; a run's pods end in an error where they do not reach it"
        yield "warning", words, cure
    else:
        yield "well", f"logs go to s3://{wanted['bucket']}/{wanted['keyFormat'].split('/{{')[0]}"


def check_secrets(target: CheckTarget) -> Iterator[CheckResult]:
    """The Secrets exist and have both keys; the values are not looked at."""
    for name in (target.cluster.store_secret, *([LOG_SECRET] if target.runs == target.home else [])):
        found = target.api.get(f"/api/v1/namespaces/{target.runs}/secrets/{name}")
        missing = [key for key in KEYS if found is None or not (found.get("data") or {}).get(key)]
        if missing:
            why = "the first pod of a run hangs without it" if name == LOG_SECRET else "steps cannot reach the store without it"
            words = f"Secret {name} in {target.runs} lacks {' and '.join(missing)}; {why}"
            yield "wrong", words, build_secret_command(name, target.runs)
        else:
            yield "well", f"Secret {name} has its two keys"


def check_rights(target: CheckTarget) -> Iterator[CheckResult]:
    """The steps' account exists and may do what a run needs (SelfSubjectAccessReview, acting as the account)."""
    cure = "apply what `python -m pipelines.namespace` prints"
    if target.api.get(f"/api/v1/namespaces/{target.runs}/serviceaccounts/{target.account}") is None:
        yield "wrong", f"no service account {target.account} in {target.runs}", cure
        return
    missing = [words for words, attributes in _list_needed_rights(target) if not _is_allowed(target, attributes)]
    optional = [words for words in missing if words == "get pods" and not uses_several_nodes(target.cluster)]
    wrong = [words for words in missing if words not in optional]
    if wrong:
        yield "wrong", f"{target.account} may not {', '.join(wrong)}", cure
    elif optional:
        yield "warning", f"{target.account} may not get pods: each step warns about its attempt's number", cure
    else:
        more = " and a TrainJob" if uses_several_nodes(target.cluster) else ""
        yield "well", f"{target.account} has the rights a run{more} needs"


def _list_needed_rights(target: CheckTarget) -> Iterator[tuple[str, dict[str, str]]]:
    for rule in build_step_rules(target.cluster):
        for verb in rule["verbs"]:
            resource, names = rule["resources"][0], rule.get("resourceNames", [""])
            kind, _, part = resource.partition("/")
            attributes = {"namespace": target.runs, "verb": verb, "group": rule["apiGroups"][0], "resource": kind}
            yield f"{verb} {resource} {names[0]}".strip(), {**attributes, "subresource": part, "name": names[0]}


def _is_allowed(target: CheckTarget, attributes: dict[str, str]) -> bool:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    user = f"system:serviceaccount:{target.runs}:{target.account}"
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(target.api.post(path, body, user=user).get("status", {}).get("allowed"))


def check_pod_security(target: CheckTarget) -> Iterator[CheckResult]:
    """The namespace enforces a level of PodSecurity; our steps comply with the strictest one."""
    found = target.api.get(f"/api/v1/namespaces/{target.runs}")
    if found is None:
        yield "wrong", f"there is no namespace {target.runs}", f"kubectl create namespace {target.runs}"
        return
    level = (found["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce")
    if level in ("restricted", "baseline", "privileged"):
        yield "well", f"{target.runs} enforces {level}; all steps are fit for restricted"
    else:
        words = f"{target.runs} enforces no PodSecurity level (label: {level or 'none'})"
        cure = f"kubectl label namespace {target.runs} pod-security.kubernetes.io/enforce=restricted"
        yield "warning", words, cure if target.runs != target.home else "ask Kubeflow's administrator"


def check_retries(target: CheckTarget) -> Iterator[CheckResult]:
    """Argo's default settings retry only after a lost pod, never after a step that failed."""
    found = target.api.get(f"/api/v1/namespaces/{target.home}/configmaps/workflow-controller-configmap")
    if found is None:
        yield "unknown", f"no workflow-controller-configmap in {target.home}", "name Kubeflow's namespace with --home"
        return
    data = found.get("data") or {}
    whole = yaml.safe_load(data.get("config") or "") or {}
    text = data.get("workflowDefaults")
    defaults = (yaml.safe_load(text) if text else whole.get("workflowDefaults")) or {}
    strategy = ((defaults.get("spec") or {}).get("templateDefaults") or {}).get("retryStrategy") or {}
    if strategy.get("retryPolicy") == "OnError":
        words = "Argo's default retryPolicy OnError overrides our retries: a step that fails is not tried again"
        cure = "an administrator removes templateDefaults from workflowDefaults in workflow-controller-configmap; "
        cure += "until then start the run again, finished steps are cached and training goes on from its checkpoint"
        yield "warning", words, cure
    else:
        yield "well", f"a step that fails is tried {target.cluster.retries} times more"


def check_store_name(target: CheckTarget) -> Iterator[CheckResult]:
    """The store's name resolves in the UI, which runs in Kubeflow's own namespace and reads reports from the launcher's endpoint."""
    host = urlsplit(target.cluster.store_endpoint).hostname or ""
    parts = host.split(".")
    if not host:
        yield "well", "the store is Amazon's own endpoint"
    elif len(parts) == 1 and target.runs != target.home and host != "localhost":
        full = f"{host}.{target.runs}.svc.cluster.local"
        words = f"the store is named {host!r}, which the UI in {target.home} cannot resolve: reports stay empty"
        yield "wrong", words, f"name it {full} in store_endpoint and in {LAUNCHER}"
    elif len(parts) == 1 or parts[2:3] == ["svc"] or len(parts) == 2:
        yield from _check_service(target, parts[0], parts[1] if len(parts) > 1 else target.runs)
    else:
        yield "well", f"the store has a public name, {host}"


def _check_service(target: CheckTarget, name: str, namespace: str) -> Iterator[CheckResult]:
    port = urlsplit(target.cluster.store_endpoint).port or 80
    found = target.api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    if found is None:
        words = f"there is no Service {name} in {namespace}, so the store's name resolves nowhere"
        yield "wrong", words, "mend store_endpoint in the cluster's facts"
        return
    offered = [entry["port"] for entry in found["spec"].get("ports", [])]
    slices = target.api.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", labelSelector=f"kubernetes.io/service-name={name}"
    )
    ready = [e for s in (slices or {}).get("items", []) for e in s.get("endpoints") or [] if e.get("conditions", {}).get("ready")]
    if port not in offered:
        yield "wrong", f"Service {name} has no port {port}, it has {offered}", "mend store_endpoint"
    elif not ready:
        words = f"no pod is ready behind Service {name} in {namespace}"
        yield "wrong", words, f"kubectl get pods --namespace {namespace}; is the object store running?"
    else:
        yield "well", f"{name}.{namespace} resolves from every namespace, {len(ready)} ready behind it"
