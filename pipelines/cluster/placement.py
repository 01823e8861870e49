"""Sets the GPU, memory, secrets, retries and timeouts of every task, from the cluster's facts. No other module sets them.

It writes the same YAML as the SDK's extension, so that the chart's upload job needs no SDK; a contract test compares both.
Schema: kfp-kubernetes 2.17, KubernetesExecutorConfig.
"""

import copy
import re
from typing import Any

from audiotune.governance.service_client import KEY, URL
from components.finetune.nodes.node_resources import VARIABLE, NodeResources
from pipelines.cluster.settings import Cluster
from pipelines.documents import Documents, collect_containers, collect_tasks, iterate_steps

GPU_STEPS = ("encode", "finetune", "evaluate")
GOVERNANCE_STEPS = ("ingest", "register")  # those that ask the governance service, and get a key of it
HUB_STEPS = ("ingest", "encode")  # those that fetch from Hugging Face; the steps behind encode find the base in the store
MLFLOW_STEPS = ("finetune", "register")  # those that write to MLflow, and get its key

# Kubeflow counts this from the first start of a task, not for each pause: if all attempts together take longer, none is retried.
_LONGER_THAN_ANY_RUN = "604800s"
# The TrainJob must reach its own deadline first, so that the step can still report it.
_LONGER_THAN_THE_TRAINING_S = 900
# The user of the images, as a number: PodSecurity "restricted" checks that it is not root.
_USER = "10001"
_CA = "/etc/audio-tune/ca"
_OURS = re.compile(r"(?:^|/)(prepare|train)(?:[:@]|$)")
_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def place_tasks(documents: Documents, cluster: Cluster) -> Documents:
    """The pipeline with the placement and resources of every task. An earlier placement is replaced."""
    spec = copy.deepcopy(documents[0])
    executors = {}
    several = count_nodes(spec) > 1
    for label, container in collect_containers(spec).items():
        step = label.removeprefix("exec-").split("-")[0]
        has_trainjob = several and step == "finetune"  # then the training pods have the GPUs
        gpu = step in GPU_STEPS and not has_trainjob
        _fill_container(container, cluster, gpu)
        executors[label] = _build_platform(cluster, gpu)
        if step in GOVERNANCE_STEPS and cluster.governance:
            container["env"] = [*container.get("env", []), {"name": URL, "value": cluster.governance}]
            executors[label]["secretAsEnv"].append(_reference_governance_key(cluster))
        if step in HUB_STEPS and cluster.hub_endpoint:
            container["env"] = [*container.get("env", []), {"name": "HF_ENDPOINT", "value": cluster.hub_endpoint}]
        if step in HUB_STEPS and cluster.hub_secret:
            executors[label]["secretAsEnv"].append(_reference_hub_token(cluster))
        if step in MLFLOW_STEPS and cluster.mlflow_secret:
            executors[label]["secretAsEnv"].append(_reference_mlflow_key(cluster))
        if has_trainjob:
            variable = {"name": VARIABLE, "value": _dump_training_pod(container["image"], cluster)}
            container["env"] = [*container.get("env", []), variable]
            executors[label]["activeDeadlineSeconds"] = str(cluster.gpu_timeout_s + _LONGER_THAN_THE_TRAINING_S)
    for task in collect_tasks(spec).values():
        _set_retries(task, cluster)
    return [spec, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]


def count_nodes(spec: dict[str, Any]) -> int:
    """How many nodes the finetune step of a compiled pipeline trains on; 1 where it has no such step."""
    for step, task in iterate_steps(spec):
        if step == "finetune":
            settings = task.get("inputs", {}).get("parameters", {}).get("settings", {})
            return int(settings.get("runtimeValue", {}).get("constant", {}).get("nodes") or 1)
    return 1


def build_environment(cluster: Cluster) -> dict[str, str]:
    """The environment of every step, without its credentials."""
    values = {
        "AUDIOTUNE_STORE": cluster.store,
        "AWS_ENDPOINT_URL_S3": cluster.store_endpoint,
        "AWS_REGION": cluster.store_region,
        "MLFLOW_TRACKING_URI": cluster.mlflow,
        "AWS_CA_BUNDLE": f"{_CA}/ca.crt" if cluster.store_ca_secret else "",
        **cluster.environment,
    }
    return {name: value for name, value in values.items() if value}


def _fill_container(container: dict[str, Any], cluster: Cluster, gpu: bool) -> None:
    role = _OURS.search(container["image"])
    container["image"] = (getattr(cluster.images, role.group(1)) if role else "") or container["image"]
    container["resources"] = _build_resources(cluster, gpu)
    env = [{"name": name, "value": value} for name, value in build_environment(cluster).items()]
    container.pop("env", None)
    if env:
        container["env"] = env


def _build_resources(cluster: Cluster, gpu: bool) -> dict[str, Any]:
    """Each amount twice: old servers read numbers (cores, gigabytes), new ones read Kubernetes' quantities."""
    memory = cluster.gpu_memory_limit if gpu else cluster.memory_limit
    resources: dict[str, Any] = {
        "cpuRequest": parse_quantity(cluster.cpu_request),
        "memoryRequest": parse_quantity(cluster.memory_request) / 1e9,
        "memoryLimit": parse_quantity(memory) / 1e9,
        "resourceCpuRequest": cluster.cpu_request,
        "resourceMemoryRequest": cluster.memory_request,
        "resourceMemoryLimit": memory,
    }
    if gpu and cluster.gpus:
        count, kind = str(cluster.gpus), cluster.gpu_resource
        resources["accelerator"] = {"count": count, "resourceCount": count, "resourceType": kind, "type": kind}
    return resources


def parse_quantity(quantity: str) -> float:
    """A Kubernetes quantity as a number: 500m is 0.5, 1Gi is 2**30."""
    number, unit = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def _build_platform(cluster: Cluster, gpu: bool) -> dict[str, Any]:
    variables = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    keys = [{"secretKey": key, "envVar": variable} for key, variable in variables.items()]
    platform: dict[str, Any] = {
        "securityContext": {"runAsUser": _USER, "runAsGroup": "0", "runAsNonRoot": True},
        "secretAsEnv": [{**_reference_secret(cluster.store_secret), "keyToEnv": keys, "optional": False}],
    }
    if cluster.store_ca_secret:
        platform["secretAsVolume"] = [{**_reference_secret(cluster.store_ca_secret), "mountPath": _CA, "optional": False}]
    if cluster.pull_secrets:
        platform["imagePullSecret"] = [_reference_secret(name) for name in cluster.pull_secrets]
    if cluster.pull_policy:
        platform["imagePullPolicy"] = cluster.pull_policy
    return {**platform, **_build_gpu_settings(cluster)} if gpu else platform


def _reference_secret(name: str) -> dict[str, Any]:
    return {"secretName": name, "secretNameParameter": {"runtimeValue": {"constant": name}}}


def _reference_key(secret: dict[str, Any], key: str) -> dict[str, Any]:
    """A key of a Secret, as a pod's own specification names it."""
    named = {"name": secret["secretName"], "key": key}
    return {**named, "optional": True} if secret["optional"] else named


def _reference_governance_key(cluster: Cluster) -> dict[str, Any]:
    """Optional: where the Secret is missing, the step says so in its own words; a pod that cannot start says nothing."""
    keys = [{"secretKey": "key", "envVar": KEY}]
    return {**_reference_secret(cluster.governance_secret), "keyToEnv": keys, "optional": True}


def _reference_hub_token(cluster: Cluster) -> dict[str, Any]:
    """Optional, as the key above: encode says that there is no token, and where to get one."""
    keys = [{"secretKey": cluster.hub_secret_key, "envVar": "HF_TOKEN"}]
    return {**_reference_secret(cluster.hub_secret), "keyToEnv": keys, "optional": True}


def _reference_mlflow_key(cluster: Cluster) -> dict[str, Any]:
    """Optional, as the key above: finetune asks MLflow before it trains, and says what is missing."""
    keys = [{"secretKey": "token", "envVar": "MLFLOW_TRACKING_TOKEN"}]
    return {**_reference_secret(cluster.mlflow_secret), "keyToEnv": keys, "optional": True}


def _build_gpu_settings(cluster: Cluster) -> dict[str, Any]:
    """Shared memory, deadline and placement of the GPU steps, which need the first two on a CPU, too."""
    mount = {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": cluster.shared_memory}
    settings: dict[str, Any] = {"emptyDirMounts": [mount], "activeDeadlineSeconds": str(cluster.gpu_timeout_s)}
    if cluster.gpu_node_selector:
        settings["nodeSelector"] = {"labels": dict(cluster.gpu_node_selector)}
    tolerations = [{k: v for k, v in t.model_dump().items() if v} for t in cluster.gpu_tolerations]
    if cluster.gpu_taint:
        tolerations.append({"key": cluster.gpu_taint, "operator": "Exists", "effect": "NoSchedule"})
    if tolerations:
        settings["tolerations"] = tolerations
    return settings


def _dump_training_pod(image: str, cluster: Cluster) -> str:
    """The image, GPUs, shared memory, Secrets and placement of each training pod, as the step reads them."""
    step = _build_platform(cluster, gpu=True)
    referenced = [*step["secretAsEnv"], *([_reference_mlflow_key(cluster)] if cluster.mlflow_secret else [])]
    secrets = [
        {"name": key["envVar"], "valueFrom": {"secretKeyRef": _reference_key(secret, key["secretKey"])}}
        for secret in referenced
        for key in secret["keyToEnv"]
    ]
    volumes: list[dict[str, Any]] = [
        {"name": mount["volumeName"], "emptyDir": {"medium": mount["medium"], "sizeLimit": mount["sizeLimit"]}}
        for mount in step["emptyDirMounts"]
    ]
    mounts = [{"name": mount["volumeName"], "mountPath": mount["mountPath"]} for mount in step["emptyDirMounts"]]
    for secret in step.get("secretAsVolume", []):
        volumes.append({"name": "store-ca", "secret": {"secretName": secret["secretName"]}})
        mounts.append({"name": "store-ca", "mountPath": secret["mountPath"], "readOnly": True})
    gpus = {cluster.gpu_resource: str(cluster.gpus)} if cluster.gpus else {}
    pod = NodeResources(
        image=image,
        env=[*({"name": name, "value": value} for name, value in build_environment(cluster).items()), *secrets],
        resources={
            "requests": {"cpu": cluster.cpu_request, "memory": cluster.memory_request, **gpus},
            "limits": {"memory": cluster.gpu_memory_limit, **gpus},
        },
        volumes=volumes,
        mounts=mounts,
        node_selector=step.get("nodeSelector", {}).get("labels", {}),
        tolerations=step.get("tolerations", []),
        pull_secrets=list(cluster.pull_secrets),
        user=int(_USER),
        deadline_s=cluster.gpu_timeout_s,
        restarts=cluster.retries,
    )
    return pod.model_dump_json()


def _set_retries(task: dict[str, Any], cluster: Cluster) -> None:
    task.pop("retryPolicy", None)
    if cluster.retries:
        task["retryPolicy"] = {
            "maxRetryCount": cluster.retries,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": _LONGER_THAN_ANY_RUN,
        }
