"""Facts of a cluster: where steps run and with which resources, from JSON, YAML, or a recipe's [cluster] table.

Our chart writes them into the ConfigMap <release>-cluster; without the chart you write the file.
"""

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import SettingsError

_PRESETS = Path(__file__).parents[2] / "helm" / "audio-tune" / "files" / "presets.yaml"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


class StepImages(FrozenModel):
    """Full references, as in registry.home:5000/audio-tune/prepare@sha256:...; empty keeps the compiled name."""

    prepare: str = Field(default="", description="image of ingest, segment and annotate_merge")
    train: str = Field(default="", description="image of all other steps")


class GpuToleration(FrozenModel):
    """A taint that GPU steps tolerate."""

    key: str = Field(default="", description="the taint's key; empty with Exists tolerates all")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="Exists, or Equal with a value")
    value: str = Field(default="", description="the taint's value")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(default="", description="empty: every effect")


class Cluster(FrozenModel):
    """Where steps run on Kubernetes, and with which resources. Local runs ignore it."""

    store: str = Field(default="", description="AUDIOTUNE_STORE of every step; empty leaves it to the image's environment")
    store_endpoint: str = Field(default="", description="AWS_ENDPOINT_URL_S3 of every step")
    store_region: str = Field(default="", description="AWS_REGION of every step")
    store_secret: str = Field(default="audiotune-store", description="Secret with the keys accesskey and secretkey")
    store_ca_secret: str = Field(default="", description="Secret with ca.crt, where the store's certificate is the group's own")
    mlflow: str = Field(default="", description="MLFLOW_TRACKING_URI of every step")
    mlflow_secret: str = Field(
        default="",
        description="Secret with the key `token`: MLFLOW_TRACKING_TOKEN of finetune and register; empty: MLflow asks for no key",
    )
    governance: str = Field(
        default="",
        description="AUDIOTUNE_GOVERNANCE_URL of ingest; empty: ingest itself writes agreement and consents into the store",
    )
    governance_secret: str = Field(
        default="audiotune-governance",
        description="Secret with the key `key`: the key of ingest and register for the governance service",
    )
    hub_secret: str = Field(
        default="",
        description="Secret with your token of Hugging Face, HF_TOKEN of ingest and encode; empty: nothing behind a licence is fetched",
    )
    hub_secret_key: str = Field(default="token", pattern=r"^[A-Za-z0-9._-]{1,253}$", description="key of that Secret")
    hub_endpoint: str = Field(default="", description="HF_ENDPOINT of ingest and encode; empty takes https://huggingface.co")
    bases: tuple[str, ...] = Field(
        default=(), description="models that are copied into the store ahead of time: the form offers them"
    )
    images: StepImages = Field(default=StepImages(), description="what the steps run in")
    pull_secrets: tuple[str, ...] = Field(default=(), description="Secrets with the registry's login")
    pull_policy: Literal["", "IfNotPresent", "Always", "Never"] = Field(default="", description="when nodes pull")
    recipe: str = Field(default="", description="recipe that fits this machine")
    batch_size: int | None = Field(default=None, ge=1, le=65_536, description="segments per optimizer step that fit this machine")
    gpu_resource: str = Field(default="nvidia.com/gpu", description="resource that encode, finetune and evaluate ask for")
    gpus: int = Field(default=0, ge=0, le=16, description="how many of it; 0 runs them on the CPU")
    nodes: int | None = Field(
        default=None, ge=1, le=64, description="training pods, each with its own GPUs; above 1 by a Kubeflow TrainJob"
    )
    gpu_node_selector: dict[str, str] = Field(default={}, description="labels a GPU node must have")
    gpu_taint: str = Field(default="", description="key of a NoSchedule taint that GPU steps tolerate")
    gpu_tolerations: tuple[GpuToleration, ...] = Field(default=(), description="taints that GPU steps tolerate")
    shared_memory: str = Field(default="2Gi", pattern=_QUANTITY, description="size of /dev/shm on GPU steps")
    cpu_request: str = Field(default="500m", pattern=_QUANTITY, description="cores set aside for every step")
    memory_request: str = Field(default="1Gi", pattern=_QUANTITY, description="memory set aside for every step")
    memory_limit: str = Field(default="8Gi", pattern=_QUANTITY, description="most memory of a step without a GPU")
    gpu_memory_limit: str = Field(default="48Gi", pattern=_QUANTITY, description="most memory of a GPU step")
    gpu_timeout_s: int = Field(
        default=7 * 86_400,
        ge=60,
        description="a GPU step that runs longer is ended; it resumes from its checkpoint when run again",
    )
    retries: int = Field(default=2, ge=0, le=10, description="attempts after a first failure")
    service_account: str = Field(default="", description="service account of the steps; empty takes Kubeflow's")
    environment: dict[str, str] = Field(default={}, description="more environment of every step")


def load_cluster(path: Path) -> Cluster:
    """Reads the facts of a cluster from a JSON or YAML file.

    Raises:
        SettingsError: the file is missing, is no JSON or YAML, or holds keys or values that are wrong; each is named.
    """
    return _check_cluster(_flatten_table(_read_table(path)), str(path))


def _flatten_table(table: dict[str, Any]) -> dict[str, Any]:
    """Moves the keys of the chart's cluster.json to one level: it has our keys below `cluster`, and those of the GPU preset above.

    Kubeflow 2.17 cannot set preset, runtime_class, device and device_class on a step, so they are left out.
    """
    if not isinstance(table.get("cluster"), dict):
        return table
    flat = {**table["cluster"], **{name: table[name] for name in ("recipe", "batch_size", "images") if table.get(name)}}
    if table.get("tolerations"):
        flat = {**flat, "gpu_taint": "", "gpu_tolerations": table["tolerations"]}
    known = {"cluster", "recipe", "batch_size", "images", "tolerations", "preset", "runtime_class", "device", "device_class"}
    return {**flat, **{name: value for name, value in table.items() if name not in known}}


def find_cluster(path: Path | None) -> Cluster | None:
    """The facts in this file, or else in the file that AUDIOTUNE_CLUSTER names; None where neither is given."""
    named = path or os.environ.get("AUDIOTUNE_CLUSTER")
    return load_cluster(Path(named)) if named else None


def apply_images(cluster: Cluster, values: Path) -> Cluster:
    """Sets the images from a values file of the chart (`make images REGISTRY=...` writes deploy/values/images.yaml)."""
    images = _read_table(values).get("images", {})
    return cluster.model_copy(
        update={"images": StepImages(**{name: _build_reference(images, name) for name in ("prepare", "train")})}
    )


def apply_preset(cluster: Cluster, name: str, presets: Path = _PRESETS) -> Cluster:
    """Sets resource, count, selector, tolerations, shared memory, batch size and recipe from a GPU preset of the chart."""
    known = _read_table(presets)
    if name not in known:
        raise SettingsError(f"no GPU preset {name!r}", cure=f"take one of: {', '.join(known)}")
    preset = known[name]
    ours = preset["pipelines"]
    return _check_cluster(
        {
            **cluster.model_dump(exclude_defaults=True),
            "gpu_resource": preset["resource"] or "nvidia.com/gpu",
            "gpus": preset["count"],
            "gpu_node_selector": preset["nodeSelector"],
            "gpu_tolerations": preset["tolerations"],
            "shared_memory": ours["sharedMemory"],
            "batch_size": ours["batchSize"],
            "recipe": ours["recipe"],
        },
        name,
    )


def _build_reference(images: dict[str, Any], name: str) -> str:
    own = images.get(name) or {}
    host = own.get("registry") or images.get("registry", "")
    path = own.get("name") or f"audio-tune/{name}"
    end = f"@{own['digest']}" if own.get("digest") else f":{own.get('tag') or 'latest'}"
    return "/".join(filter(None, [host, path])) + end


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = yaml.safe_load(path.read_text())
    except OSError as e:
        raise SettingsError(f"the file cannot be read: {e.strerror}", where=str(path), cure="name one that is there") from e
    except yaml.YAMLError as e:
        raise SettingsError(f"the file is neither JSON nor YAML: {e}", where=str(path), cure="mend the line it names") from e
    if not isinstance(table, dict):
        raise SettingsError("the file holds no table", where=str(path), cure="write keys and values")
    return table


def _check_cluster(facts: dict[str, Any], where: str) -> Cluster:
    try:
        return Cluster.model_validate(facts)
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors())
        raise SettingsError(f"the cluster's facts do not fit: {faults}", where=where, cure="mend the keys named") from e
