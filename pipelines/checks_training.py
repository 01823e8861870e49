"""What the doctor looks at where training takes several nodes: Kubeflow Trainer, its version, and our runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.finetune.nodes.place import RUNTIME
from components.finetune.nodes.trainjob import API, CONTAINER, GROUP, JOB
from pipelines.findings import Finding, Patient
from pipelines.namespace import runtime_spec, several

_NEEDED = ("runtimePatches", "activeDeadlineSeconds")  # both came with Trainer 2.2
_INSTALL = "install Kubeflow Trainer 2.2 or newer (with JobSet), or take nodes out of the cluster's facts"
_APPLY = "apply what `python -m pipelines.namespace` prints for these facts (--training where the rest is Kubeflow's)"


def trainer(patient: Patient) -> Iterator[Finding]:
    """Kubernetes knows TrainJobs as we write them, and the namespace has the runtime that they name."""
    if not several(patient.cluster):
        yield Finding("trainer", "well", "training stays in one pod; no TrainJob is needed")
        return
    described = patient.api.get(f"/openapi/v3/apis/{GROUP}/v1alpha1")  # open to everybody who may sign in, unlike the CRD
    if described is None:
        words = f"nodes is {patient.cluster.nodes}, and Kubernetes knows no TrainJob: Kubeflow Trainer is not installed"
        yield Finding("trainer", "wrong", words, _INSTALL)
        return
    missing = [name for name in _NEEDED if name not in _fields(described)]
    if missing:
        words = f"Kubeflow Trainer is older than 2.2: its TrainJob has no {' and no '.join(missing)}"
        yield Finding("trainer", "wrong", words, _INSTALL)
        return
    yield Finding("trainer", "well", "Kubernetes knows TrainJobs as Kubeflow Trainer 2.2 and newer have them")
    yield from _runtime(patient)


def _fields(described: dict[str, Any]) -> set[str]:
    """Names of the fields of a TrainJob's spec, as the server describes them."""
    for name, schema in (described.get("components", {}).get("schemas") or {}).items():
        if name.endswith(".TrainJob"):
            return set(schema.get("properties", {}).get("spec", {}).get("properties", {}))
    return set()


def _runtime(patient: Patient) -> Iterator[Finding]:
    found = patient.api.get(f"{API}/namespaces/{patient.runs}/trainingruntimes/{RUNTIME}")
    if found is None:
        yield Finding("trainer", "wrong", f"no TrainingRuntime {RUNTIME} in {patient.runs}: TrainJobs are refused", _APPLY)
        return
    ours = runtime_spec(patient.cluster)["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    job = _job(found)
    if not any(container.get("name") == CONTAINER for container in _pod(job).get("containers", [])):
        yield Finding("trainer", "wrong", f"TrainingRuntime {RUNTIME} has no container {CONTAINER} in a job {JOB}", _APPLY)
    elif job.get("backoffLimit") != ours["backoffLimit"] or _pod(job).get("restartPolicy") != _pod(ours)["restartPolicy"]:
        words = f"TrainingRuntime {RUNTIME} starts single pods again: the others wait for one that begins anew"
        yield Finding("trainer", "warning", words, _APPLY)
    else:
        yield Finding("trainer", "well", f"{patient.runs} has the TrainingRuntime {RUNTIME}")


def _job(runtime: dict[str, Any]) -> dict[str, Any]:
    jobs = runtime.get("spec", {}).get("template", {}).get("spec", {}).get("replicatedJobs") or []
    return dict(next((job["template"]["spec"] for job in jobs if job.get("name") == JOB), {}))


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job.get("template", {}).get("spec", {}))
