"""The pod of a step, as KFP writes it from the compiled YAML, with our small launcher instead of KFP's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.standin.driver import Run, plain

LAUNCHER = Path(__file__).parent / "launch.py"
_SCRATCH = ("/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config")
_LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(run: Run, task: str, given: dict[str, Any], name: str, account: str, attempt: int = 0) -> dict[str, Any]:
    """The manifest of one attempt of a task.

    Args:
        given: its ExecutorInput.
        name: the pod's name; ConfigMap `standin-launcher` must hold launch.py.
        account: service account.
        attempt: number of the attempt, from 0.
    """
    label = run.component(task)["executorLabel"]
    container = run.spec["deploymentSpec"]["executors"][label]["container"]
    platform = run.documents[1] if len(run.documents) > 1 else {}
    own = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {}).get(label, {})
    volumes, mounts = _volumes(own)
    words = [
        json.dumps(given) if word == "{{$}}" else word for word in (*container.get("command", []), *container.get("args", []))
    ]
    main = {
        "name": "main",
        "image": container["image"],
        "command": ["python3", "/standin/launch.py", json.dumps(given), "--", *words],
        "env": _environment(container, own, run, attempt),
        "resources": _resources(container, given),
        "securityContext": {**_LOCKED, **_who(own)},
        "volumeMounts": mounts,
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main],
        "volumes": volumes,
        **_placement(own, run),
    }
    # Argo's label is what the chart's policies know a step by
    labels = {"workflows.argoproj.io/workflow": run.name, "pipeline/runid": run.id, "standin/task": task}
    labels |= own.get("podMetadata", {}).get("labels", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _who(own: dict[str, Any]) -> dict[str, Any]:
    context = own.get("securityContext", {})
    numbers = {key: int(context[key]) for key in ("runAsUser", "runAsGroup") if key in context}
    return {**numbers, "runAsNonRoot": bool(context.get("runAsNonRoot"))}


def _environment(container: dict[str, Any], own: dict[str, Any], run: Run, attempt: int) -> list[dict[str, Any]]:
    made = [dict(entry) for entry in container.get("env", [])]
    for secret in own.get("secretAsEnv", []):
        for key in secret["keyToEnv"]:
            reference = {"name": _resolved(secret["secretNameParameter"], run), "key": key["secretKey"]}
            reference["optional"] = bool(secret.get("optional"))
            made.append({"name": key["envVar"], "valueFrom": {"secretKeyRef": reference}})
    fields = [(entry["name"], entry["fieldPath"]) for entry in own.get("fieldPathAsEnv", [])]
    for name, path in (*fields, ("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid")):
        made.append({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
    return [*made, {"name": "KFP_RETRY_INDEX", "value": str(attempt)}]


def _resolved(wire: dict[str, Any], run: Run) -> Any:
    constant = wire.get("runtimeValue", {}).get("constant")
    return constant if constant is not None else plain(run.form()[wire["componentInputParameter"]])


def _resources(container: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    asked = container.get("resources", {})
    amounts = {
        "requests": {"cpu": asked.get("resourceCpuRequest"), "memory": asked.get("resourceMemoryRequest")},
        "limits": {"cpu": asked.get("resourceCpuLimit"), "memory": asked.get("resourceMemoryLimit")},
    }
    accelerator = asked.get("accelerator")
    if accelerator:
        count = accelerator["resourceCount"]
        if count.startswith("{{"):
            count = str(given["inputs"]["parameterValues"]["accelerator_count"])
        for side in amounts.values():
            side[accelerator["resourceType"]] = count
    return {
        side: {name: value for name, value in table.items() if value} for side, table in amounts.items() if any(table.values())
    }


def _volumes(own: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for entry in own.get("emptyDirMounts", []):
        source = {"medium": entry["medium"], "sizeLimit": entry["sizeLimit"]}
        volumes.append({"name": entry["volumeName"], "emptyDir": source})
        mounts.append({"name": entry["volumeName"], "mountPath": entry["mountPath"]})
    for entry in own.get("secretAsVolume", []):
        volumes.append({"name": entry["secretName"], "secret": {"secretName": entry["secretName"]}})
        mounts.append({"name": entry["secretName"], "mountPath": entry["mountPath"]})
    for path in _SCRATCH:
        name = path.strip("/.") + "-scratch"
        volumes.append({"name": name, "emptyDir": {}})
        mounts.append({"name": name, "mountPath": path})
    volumes.append({"name": "standin", "configMap": {"name": "standin-launcher"}})
    return volumes, [*mounts, {"name": "standin", "mountPath": "/standin", "readOnly": True}]


def _placement(own: dict[str, Any], run: Run) -> dict[str, Any]:
    made: dict[str, Any] = {}
    selector = own.get("nodeSelector", {})
    labels = selector.get("labels") or (_resolved(selector["nodeSelectorJson"], run) if "nodeSelectorJson" in selector else {})
    if labels:
        made["nodeSelector"] = labels
    if own.get("tolerations"):
        made["tolerations"] = own["tolerations"]
    if own.get("activeDeadlineSeconds"):
        made["activeDeadlineSeconds"] = int(own["activeDeadlineSeconds"])
    if own.get("imagePullSecret"):
        made["imagePullSecrets"] = [{"name": _resolved(s["secretNameParameter"], run)} for s in own["imagePullSecret"]]
    return made
