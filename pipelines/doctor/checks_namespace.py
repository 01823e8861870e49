"""What the doctor looks at in the namespaces: launcher, Secrets, rights, PodSecurity, and Argo's retries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml

from audiotune.outside.kubernetes import Kubernetes
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
from pipelines.doctor.findings import CheckTarget, DoctorFinding


def check_launcher(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """ConfigMap kfp-launcher points at our bucket, our endpoint and our Secret."""
    if not patient.cluster.store.startswith("s3://"):
        yield DoctorFinding(
            "launcher", "unknown", "the cluster's facts name no bucket", "set store, as in s3://jam, in the cluster's facts"
        )
        return
    cure = build_patch_command(patient.cluster, patient.runs)
    if patient.runs != patient.home:
        cure = "apply what `python -m pipelines.namespace` prints"
    found = patient.api.get(f"/api/v1/namespaces/{patient.runs}/configmaps/{LAUNCHER}")
    if found is None:
        yield DoctorFinding("launcher", "wrong", f"no ConfigMap {LAUNCHER} in {patient.runs}: artifacts would go elsewhere", cure)
        return
    wanted = build_launcher_data(patient.cluster)
    faults = list(_find_differences(found.get("data") or {}, wanted))
    if faults:
        yield DoctorFinding("launcher", "wrong", f"{LAUNCHER}: {'; '.join(faults)}", cure)
    else:
        yield DoctorFinding("launcher", "well", f"artifacts go to {wanted['defaultPipelineRoot']}")


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


def check_logs(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """Argo archives the logs of runs in a namespace of ours in our bucket. In Kubeflow's own namespace they are Kubeflow's matter."""
    if patient.runs == patient.home:
        yield DoctorFinding("logs", "well", "Kubeflow keeps them in its own store")
        return
    found = patient.api.get(f"/api/v1/namespaces/{patient.runs}/configmaps/{REPOSITORIES}") or {}
    named = (found.get("metadata", {}).get("annotations") or {}).get(REPOSITORY, "")
    told = (found.get("data") or {}).get(named)
    wanted = yaml.safe_load(build_log_repository(patient.cluster))["s3"]
    given = (yaml.safe_load(told) or {}).get("s3") or {} if told else {}
    off = [
        key for key in ("endpoint", "bucket", "insecure", "accessKeySecret", "secretKeySecret") if given.get(key) != wanted[key]
    ]
    cure = "apply what `python -m pipelines.namespace` prints; where a Kubeflow profile owns that ConfigMap, see deploy/kfp/README.md"
    if told is None:
        words = f"no ConfigMap {REPOSITORIES} with a default in {patient.runs}: Argo archives logs in Kubeflow's store"
        yield DoctorFinding("logs", "wrong", f"{words}, which the pods of a run do not reach", cure)
    elif off:
        words = f"{REPOSITORIES}: {', '.join(off)} lead elsewhere; a run's pods end in an error where they do not reach it"
        yield DoctorFinding("logs", "warning", words, cure)
    else:
        yield DoctorFinding("logs", "well", f"logs go to s3://{wanted['bucket']}/{wanted['keyFormat'].split('/{{')[0]}")


def check_secrets(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """The Secrets are there with both keys; their contents are not looked at."""
    for name in (patient.cluster.store_secret, *([LOG_SECRET] if patient.runs == patient.home else [])):
        found = patient.api.get(f"/api/v1/namespaces/{patient.runs}/secrets/{name}")
        missing = [key for key in KEYS if found is None or not (found.get("data") or {}).get(key)]
        if missing:
            why = "the first pod of a run hangs without it" if name == LOG_SECRET else "steps cannot reach the store without it"
            words = f"Secret {name} in {patient.runs} lacks {' and '.join(missing)}; {why}"
            yield DoctorFinding("secrets", "wrong", words, build_secret_command(name, patient.runs))
        else:
            yield DoctorFinding("secrets", "well", f"Secret {name} has its two keys")


def check_rights(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """The steps' account exists and may do what a run needs (SelfSubjectAccessReview, acting as the account)."""
    api = patient.api
    if api.get(f"/api/v1/namespaces/{patient.runs}/serviceaccounts/{patient.account}") is None:
        cure = "apply what `python -m pipelines.namespace` prints"
        yield DoctorFinding("rights", "wrong", f"no service account {patient.account} in {patient.runs}", cure)
        return
    missing = [words for words, attributes in _list_needed_rights(patient) if not _is_allowed(api, patient, attributes)]
    optional = [words for words in missing if words == "get pods" and not uses_several_nodes(patient.cluster)]
    wrong = [words for words in missing if words not in optional]
    cure = "apply what `python -m pipelines.namespace` prints"
    if wrong:
        yield DoctorFinding("rights", "wrong", f"{patient.account} may not {', '.join(wrong)}", cure)
    elif optional:
        yield DoctorFinding(
            "rights", "warning", f"{patient.account} may not get pods: each step warns about its attempt's number", cure
        )
    else:
        more = " and a TrainJob" if uses_several_nodes(patient.cluster) else ""
        yield DoctorFinding("rights", "well", f"{patient.account} has the rights a run{more} needs")


def _list_needed_rights(patient: CheckTarget) -> Iterator[tuple[str, dict[str, str]]]:
    for rule in build_step_rules(patient.cluster):
        for verb in rule["verbs"]:
            resource, names = rule["resources"][0], rule.get("resourceNames", [""])
            kind, _, part = resource.partition("/")
            attributes = {"namespace": patient.runs, "verb": verb, "group": rule["apiGroups"][0], "resource": kind}
            yield f"{verb} {resource} {names[0]}".strip(), {**attributes, "subresource": part, "name": names[0]}


def _is_allowed(api: Kubernetes, patient: CheckTarget, attributes: dict[str, str]) -> bool:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    user = f"system:serviceaccount:{patient.runs}:{patient.account}"
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(api.post(path, body, user=user).get("status", {}).get("allowed"))


def check_pod_security(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """PodSecurity of the namespace; our steps keep the strictest level."""
    found = patient.api.get(f"/api/v1/namespaces/{patient.runs}")
    if found is None:
        cure = f"kubectl create namespace {patient.runs}"
        yield DoctorFinding("pod security", "wrong", f"there is no namespace {patient.runs}", cure)
        return
    level = (found["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce")
    if level in ("restricted", "baseline", "privileged"):
        yield DoctorFinding("pod security", "well", f"{patient.runs} enforces {level}; all steps are fit for restricted")
    else:
        words = f"{patient.runs} enforces no PodSecurity level (label: {level or 'none'})"
        cure = f"kubectl label namespace {patient.runs} pod-security.kubernetes.io/enforce=restricted"
        yield DoctorFinding(
            "pod security", "warning", words, cure if patient.runs != patient.home else "ask Kubeflow's administrator"
        )


def check_retries(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """Argo's stock settings let a retry be only after a lost pod, never after a step that failed."""
    path = f"/api/v1/namespaces/{patient.home}/configmaps/workflow-controller-configmap"
    found = patient.api.get(path)
    if found is None:
        yield DoctorFinding(
            "retries", "unknown", f"no workflow-controller-configmap in {patient.home}", "name Kubeflow's namespace with --home"
        )
        return
    data = found.get("data") or {}
    whole = yaml.safe_load(data.get("config") or "") or {}
    text = data.get("workflowDefaults")
    defaults = (yaml.safe_load(text) if text else whole.get("workflowDefaults")) or {}
    strategy = ((defaults.get("spec") or {}).get("templateDefaults") or {}).get("retryStrategy") or {}
    if strategy.get("retryPolicy") == "OnError":
        yield DoctorFinding(
            "retries", "warning", "Argo's default retryPolicy OnError stands over our retries: a step that fails is not tried again",
            "an administrator removes templateDefaults from workflowDefaults in workflow-controller-configmap; until then start the "
            "run again, finished steps are cached and training goes on from its checkpoint",
        )  # fmt: skip
    else:
        yield DoctorFinding("retries", "well", f"a step that fails is tried {patient.cluster.retries} times more")


def check_store_name(patient: CheckTarget) -> Iterator[DoctorFinding]:
    """The UI shows reports by the launcher's endpoint name, from its own namespace: a short name does not resolve there."""
    host = urlsplit(patient.cluster.store_endpoint).hostname or ""
    parts = host.split(".")
    if not host:
        yield DoctorFinding("store name", "well", "the store is Amazon's own endpoint")
    elif len(parts) == 1 and patient.runs != patient.home and host != "localhost":
        full = f"{host}.{patient.runs}.svc.cluster.local"
        words = f"the store is named {host!r}, which the UI in {patient.home} cannot resolve: reports stay empty"
        yield DoctorFinding("store name", "wrong", words, f"name it {full} in store_endpoint and in {LAUNCHER}")
    elif len(parts) == 1 or parts[2:3] == ["svc"] or len(parts) == 2:
        yield from _check_service(patient, parts[0], parts[1] if len(parts) > 1 else patient.runs)
    else:
        yield DoctorFinding("store name", "well", f"the store has a public name, {host}")


def _check_service(patient: CheckTarget, name: str, namespace: str) -> Iterator[DoctorFinding]:
    port = urlsplit(patient.cluster.store_endpoint).port or 80
    found = patient.api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    if found is None:
        words = f"there is no Service {name} in {namespace}, so the store's name resolves nowhere"
        yield DoctorFinding("store name", "wrong", words, "mend store_endpoint in the cluster's facts")
        return
    offered = [entry["port"] for entry in found["spec"].get("ports", [])]
    slices = patient.api.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", labelSelector=f"kubernetes.io/service-name={name}"
    )
    ready = [e for s in (slices or {}).get("items", []) for e in s.get("endpoints") or [] if e.get("conditions", {}).get("ready")]
    if port not in offered:
        yield DoctorFinding("store name", "wrong", f"Service {name} has no port {port}, it has {offered}", "mend store_endpoint")
    elif not ready:
        words = f"nobody stands behind Service {name} in {namespace}"
        yield DoctorFinding(
            "store name", "wrong", words, f"kubectl get pods --namespace {namespace}; is the object store running?"
        )
    else:
        yield DoctorFinding(
            "store name", "well", f"{name}.{namespace} resolves from every namespace, {len(ready)} ready behind it"
        )
