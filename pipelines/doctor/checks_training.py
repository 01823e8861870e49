"""The doctor's checks for training on several nodes: Kubeflow Trainer, its version, and our runtime."""

from collections.abc import Iterator
from typing import Any

from components.finetune.nodes.node_resources import RUNTIME
from components.finetune.nodes.trainjob import API, CONTAINER, GROUP, JOB
from pipelines.cluster.namespace import build_runtime_spec, uses_several_nodes
from pipelines.doctor.findings import CheckResult, CheckTarget

_NEEDED = ("runtimePatches", "activeDeadlineSeconds")  # both came with Trainer 2.2
_INSTALL = "install Kubeflow Trainer 2.2 or newer (with JobSet), or take nodes out of the cluster's facts"
_APPLY = "apply what `python -m pipelines.namespace` prints for these facts (--training where the rest is Kubeflow's)"


def check_trainer(target: CheckTarget) -> Iterator[CheckResult]:
    """Kubernetes has TrainJobs with the fields that we use, and the namespace has the runtime that they name."""
    if not uses_several_nodes(target.cluster):
        yield "well", "training stays in one pod; no TrainJob is needed"
        return
    described = target.api.get(f"/openapi/v3/apis/{GROUP}/v1alpha1")  # every signed-in user may read it, unlike the CRD
    if described is None:
        words = f"nodes is {target.cluster.nodes}, and Kubernetes knows no TrainJob: Kubeflow Trainer is not installed"
        yield "wrong", words, _INSTALL
        return
    missing = [name for name in _NEEDED if name not in _list_fields(described)]
    if missing:
        yield "wrong", f"Kubeflow Trainer is older than 2.2: its TrainJob has no {' and no '.join(missing)}", _INSTALL
        return
    yield "well", "Kubernetes knows TrainJobs as Kubeflow Trainer 2.2 and newer have them"
    yield from _check_runtime(target)


def _list_fields(described: dict[str, Any]) -> set[str]:
    """Names of the fields of a TrainJob's spec, as the server describes them."""
    for name, schema in (described.get("components", {}).get("schemas") or {}).items():
        if name.endswith(".TrainJob"):
            return set(schema.get("properties", {}).get("spec", {}).get("properties", {}))
    return set()


def _check_runtime(target: CheckTarget) -> Iterator[CheckResult]:
    found = target.api.get(f"{API}/namespaces/{target.runs}/trainingruntimes/{RUNTIME}")
    if found is None:
        yield "wrong", f"no TrainingRuntime {RUNTIME} in {target.runs}: TrainJobs are refused", _APPLY
        return
    ours = build_runtime_spec(target.cluster)["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    job = _find_job_spec(found)
    if not any(container.get("name") == CONTAINER for container in _read_pod_spec(job).get("containers", [])):
        yield "wrong", f"TrainingRuntime {RUNTIME} has no container {CONTAINER} in a job {JOB}", _APPLY
    elif (
        job.get("backoffLimit") != ours["backoffLimit"]
        or _read_pod_spec(job).get("restartPolicy") != _read_pod_spec(ours)["restartPolicy"]
    ):
        yield "warning", f"TrainingRuntime {RUNTIME} restarts single pods: the other pods wait for the restarted one", _APPLY
    else:
        yield "well", f"{target.runs} has the TrainingRuntime {RUNTIME}"


def _find_job_spec(runtime: dict[str, Any]) -> dict[str, Any]:
    jobs = runtime.get("spec", {}).get("template", {}).get("spec", {}).get("replicatedJobs") or []
    return dict(next((job["template"]["spec"] for job in jobs if job.get("name") == JOB), {}))


def _read_pod_spec(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job.get("template", {}).get("spec", {}))
