"""The Kubernetes objects that the namespace of the runs needs. Measured on KFP 2.17.0, where nothing else was allowed.

    python -m pipelines.namespace --for-cluster cluster.json --namespace jam | kubectl apply -f -
    python -m pipelines.namespace --for-cluster cluster.json --patch
    python -m pipelines.namespace --for-cluster cluster.json --training --namespace kubeflow | kubectl apply -f -

Multi-user Kubeflow: runs land in the namespace you name, and all objects are yours. Single-user: runs land in Kubeflow's own
namespace, whose ConfigMap kfp-launcher belongs to Kubeflow: --patch prints the command that changes it.
Where the facts say nodes above 1, the objects for a TrainJob come with the rest; --training prints only those.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from audiotune.errors import AudioTuneError
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.layout import KUBEFLOW
from components.finetune.nodes.node_resources import LABELS, RUNTIME
from components.finetune.nodes.trainjob import CONTAINER, GROUP, JOB
from components.image import TRAIN
from pipelines.cluster.settings import Cluster, find_cluster, load_cluster

LAUNCHER = "kfp-launcher"
LOG_SECRET = "mlpipeline-minio-artifact"  # Argo's log archive in Kubeflow's own namespace; without it the first pod hangs
REPOSITORIES = "artifact-repositories"  # Argo's name for a namespace's own archive
REPOSITORY = "workflows.argoproj.io/default-artifact-repository"
KEYS = ("accesskey", "secretkey")
ACCOUNT = "pipeline-runner"
# port -> the server that a step's pods reach there
EGRESS_TCP = {8887: "Kubeflow's API server", 8080: "its metadata", 9000: "the store", 443: "Kubernetes' API", 5000: "MLflow"}
DEPLOY = Path(__file__).parents[2] / "deploy" / "kfp"
Object = dict[str, Any]


def _parse_store(cluster: Cluster) -> tuple[str, str, bool]:
    """Host and port of the store, its region, and whether it is reached without TLS."""
    address = urlsplit(cluster.store_endpoint)
    return address.netloc or "s3.amazonaws.com", cluster.store_region or "us-east-1", address.scheme == "http"


def build_launcher_data(cluster: Cluster) -> dict[str, str]:
    """The data of ConfigMap kfp-launcher: where artifacts go, and with which key."""
    endpoint, region, plain = _parse_store(cluster)
    keys = {"secretName": cluster.store_secret, "accessKeyKey": KEYS[0], "secretKeyKey": KEYS[1]}
    default = {
        "endpoint": endpoint,
        "region": region,
        "disableSSL": plain,
        "forcePathStyle": bool(urlsplit(cluster.store_endpoint).netloc),
        "credentials": {"fromEnv": False, "secretRef": keys},
    }
    providers = yaml.safe_dump({"s3": {"default": default}}, sort_keys=False)
    return {"defaultPipelineRoot": f"{cluster.store.rstrip('/')}/{KUBEFLOW.top}", "providers": providers}


def build_log_repository(cluster: Cluster) -> str:
    """Where Argo archives the logs of runs: in the group's own bucket, with the steps' own key.

    Kubeflow's default is its own store. Our policies and keys do not reach it, so every pod would end in an error.
    """
    endpoint, region, plain = _parse_store(cluster)
    bucket = urlsplit(cluster.store)
    folder = "/".join(part for part in (bucket.path.strip("/"), KUBEFLOW.key("logs")) if part)
    keys = {f"{kind}KeySecret": {"name": cluster.store_secret, "key": key} for kind, key in zip(("access", "secret"), KEYS)}
    bucket_settings = {
        "endpoint": endpoint,
        "bucket": bucket.netloc,
        "region": region,
        "insecure": plain,
        "keyFormat": f"{folder}/{{{{workflow.name}}}}/{{{{pod.name}}}}",
    }
    return yaml.safe_dump({"archiveLogs": True, "s3": {**bucket_settings, **keys}}, sort_keys=False)


def build_step_rules(cluster: Cluster) -> list[dict[str, Any]]:
    """The four rights that a run needs, as measured, and those for training on several nodes.

    Without the last of the four each step only warns about the number of its attempt.
    """
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [LAUNCHER]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [cluster.store_secret]},
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]
    return [*rules, *build_training_rules()] if uses_several_nodes(cluster) else rules


def uses_several_nodes(cluster: Cluster) -> bool:
    """Whether training is a TrainJob of several nodes."""
    return (cluster.nodes or 1) > 1


def build_training_rules() -> list[dict[str, Any]]:
    """The rights of the finetune step for a TrainJob: to create, adopt and delete it, and to read the logs of its pods."""
    return [
        {"apiGroups": [GROUP], "resources": ["trainjobs"], "verbs": ["create", "get", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def build_objects(cluster: Cluster, namespace: str) -> list[Object]:
    """All objects but the Secret, whose contents must not be printed."""
    account = cluster.service_account or ACCOUNT
    repositories = _build_object("v1", "ConfigMap", REPOSITORIES, namespace, data={"audio-tune": build_log_repository(cluster)})
    repositories["metadata"]["annotations"] = {REPOSITORY: "audio-tune"}
    objects = [
        _build_object("v1", "ConfigMap", LAUNCHER, namespace, data=build_launcher_data(cluster)),
        repositories,
        _build_object("v1", "ServiceAccount", account, namespace),
        *_build_role("audio-tune-steps", account, namespace, build_step_rules(cluster)),
        _build_step_policy(cluster, namespace),
    ]
    return [*objects, *_build_runtime_objects(cluster, namespace)] if uses_several_nodes(cluster) else objects


def build_training_objects(cluster: Cluster, namespace: str) -> list[Object]:
    """The objects for a TrainJob alone, for namespaces where the objects of a run belong to Kubeflow."""
    account = cluster.service_account or ACCOUNT
    return [
        *_build_role("audio-tune-training", account, namespace, build_training_rules()),
        *_build_runtime_objects(cluster, namespace),
    ]


def _build_runtime_objects(cluster: Cluster, namespace: str) -> list[Object]:
    return [
        _build_object(f"{GROUP}/v1alpha1", "TrainingRuntime", RUNTIME, namespace, spec=build_runtime_spec(cluster)),
        _build_training_policy(cluster, namespace),
    ]


def build_runtime_spec(cluster: Cluster) -> dict[str, Any]:
    """Trainer's torch runtime without retries: when one pod is lost the others wait for it, so the step restarts all of them."""
    image = cluster.images.train or TRAIN  # a TrainJob brings its own
    # training pods need no token of Kubernetes
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [{"name": CONTAINER, "image": image}]}
    template = {
        "metadata": {"labels": {f"{GROUP}/trainjob-ancestor-step": "trainer"}},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
    jobs = {"failurePolicy": {"maxRestarts": 0}, "replicatedJobs": [{"name": JOB, "template": template}]}
    return {"mlPolicy": {"numNodes": 1, "torch": {}}, "template": {"spec": jobs}}


def _build_role(name: str, account: str, namespace: str, granted: list[dict[str, Any]]) -> list[Object]:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
    return [
        _build_object("rbac.authorization.k8s.io/v1", "Role", name, namespace, rules=granted),
        _build_object("rbac.authorization.k8s.io/v1", "RoleBinding", name, namespace, roleRef=role, subjects=subjects),
    ]


def _build_object(version: str, kind: str, name: str, namespace: str, **rest: Any) -> Object:
    labels = {"app.kubernetes.io/name": "audio-tune", "app.kubernetes.io/component": "steps"}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}, **rest}


def _build_step_policy(cluster: Cluster, namespace: str) -> Object:
    """Pods of a run open connections and accept none. KFP labels all of them with pipeline/runid."""
    selector = {"matchExpressions": [{"key": "pipeline/runid", "operator": "Exists"}]}
    return _build_policy("audio-tune-steps", namespace, selector, [], [_build_egress(cluster, {*EGRESS_TCP, 6443})])


def _build_training_policy(cluster: Cluster, namespace: str) -> Object:
    """Training pods reach each other on any port (NCCL takes a free one), the store and MLflow; they accept no other connection."""
    each_other = [{"podSelector": {"matchLabels": dict(LABELS)}}]
    egress = [{"to": each_other}, _build_egress(cluster, {443, 9000, 5000})]
    return _build_policy("audio-tune-training", namespace, {"matchLabels": dict(LABELS)}, [{"from": each_other}], egress)


def _build_policy(name: str, namespace: str, selector: Object, ingress: list[Object], egress: list[Object]) -> Object:
    spec = {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}
    return _build_object("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec=spec)


def _build_egress(cluster: Cluster, tcp: set[int]) -> dict[str, Any]:
    """DNS, these ports, and those of the store, of MLflow and of the governance service."""
    named = {urlsplit(url).port or 443 for url in (cluster.store_endpoint, cluster.mlflow, cluster.governance) if url}
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"ports": [*dns, *({"protocol": "TCP", "port": port} for port in sorted(tcp | named))]}


def build_patch_command(cluster: Cluster, namespace: str = "kubeflow") -> str:
    """The command that makes a single-user Kubeflow use our bucket."""
    patch = json.dumps({"data": build_launcher_data(cluster)})
    return f"kubectl patch configmap {LAUNCHER} --namespace {namespace} --type merge --patch {shlex.quote(patch)}"


def build_secret_command(name: str, namespace: str) -> str:
    """The command that creates a Secret with a key of the store, from two files that hold nothing else."""
    files = " ".join(f"--from-file={key}={key}" for key in KEYS)
    return f"kubectl create secret generic {name} --namespace {namespace} {files}"


def build_key_command(name: str, namespace: str, key: str) -> str:
    """The command that creates a Secret with one key, from a file of that name that holds nothing else."""
    return f"kubectl create secret generic {name} --namespace {namespace} --from-file={key}={key}"


def build_manifests(cluster: Cluster) -> dict[str, str]:
    """The plain manifests in deploy/kfp: file name -> text. A contract test compares the files with this."""
    head = "# Written by `python -m pipelines.namespace --write` from deploy/kfp/cluster.yaml; change it there.\n"
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LAUNCHER}, "data": build_launcher_data(cluster)}
    return {
        "multi-user/objects.yaml": head + yaml.safe_dump_all(build_objects(cluster, "audio-tune"), sort_keys=False),
        "single-user/launcher-patch.yaml": head + yaml.safe_dump(patch, sort_keys=False),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.namespace", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster (AUDIOTUNE_CLUSTER)")
    parser.add_argument("--namespace", default="", help="namespace of the runs (default: audio-tune; with --patch kubeflow)")
    parser.add_argument("--patch", action="store_true", help="single-user: print the command that changes Kubeflow's ConfigMap")
    parser.add_argument(
        "--secrets", action="store_true", help="print the commands that make the Secrets with the store's and MLflow's keys"
    )
    parser.add_argument("--training", action="store_true", help="print only what a TrainJob needs besides, for nodes above 1")
    parser.add_argument("--write", action="store_true", help="write the manifests in deploy/kfp again")
    args = parser.parse_args(argv)
    try:
        if args.write:
            for name, text in build_manifests(load_cluster(DEPLOY / "cluster.yaml")).items():
                write_atomic_file(DEPLOY / name, text)
            return 0
        cluster = find_cluster(args.for_cluster) or Cluster()
    except AudioTuneError as e:
        print(f"namespace: {e}", file=sys.stderr)
        return 2
    if args.patch:
        print(build_patch_command(cluster, args.namespace or "kubeflow"))
    if args.secrets:
        namespace = args.namespace or ("kubeflow" if args.patch else "audio-tune")
        print(build_secret_command(cluster.store_secret, namespace))
        if cluster.mlflow_secret:
            print(build_key_command(cluster.mlflow_secret, namespace, "token"))
        if cluster.hub_secret:
            print(build_key_command(cluster.hub_secret, namespace, cluster.hub_secret_key))
    if args.training:
        print(yaml.safe_dump_all(build_training_objects(cluster, args.namespace or "kubeflow"), sort_keys=False), end="")
    if not (args.patch or args.secrets or args.training):
        print(yaml.safe_dump_all(build_objects(cluster, args.namespace or "audio-tune"), sort_keys=False), end="")
    return 0
