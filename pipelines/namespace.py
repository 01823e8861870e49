"""What the namespace of the runs needs, as Kubernetes objects. Measured on KFP 2.17.0 with everything else refused.

    python -m pipelines.namespace --for-cluster cluster.json --namespace jam | kubectl apply -f -
    python -m pipelines.namespace --for-cluster cluster.json --patch

Multi-user Kubeflow: runs land in the namespace you name, and all objects are yours. Single-user: runs land in Kubeflow's own
namespace, whose ConfigMap kfp-launcher is Kubeflow's: --patch prints the command that changes it, and nothing here owns it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from audiotune.errors import AudioTuneError
from audiotune.partial import write_whole
from pipelines.cluster import Cluster, cluster_from_environment, load_cluster

LAUNCHER = "kfp-launcher"
LOG_SECRET = "mlpipeline-minio-artifact"  # Argo's log archive mounts it into every pod; without it the first pod hangs
KEYS = ("accesskey", "secretkey")
ACCOUNT = "pipeline-runner"
# port -> what a step's pods ask there
EGRESS_TCP = {8887: "Kubeflow's API server", 8080: "its metadata", 9000: "the store", 443: "Kubernetes' API", 5000: "MLflow"}
DEPLOY = Path(__file__).parent.parent / "deploy" / "kfp"
Object = dict[str, Any]


def launcher_data(cluster: Cluster) -> dict[str, str]:
    """The data of ConfigMap kfp-launcher: where artifacts go, and how to get in."""
    address = urlsplit(cluster.store_endpoint)
    keys = {"secretName": cluster.store_secret, "accessKeyKey": KEYS[0], "secretKeyKey": KEYS[1]}
    default = {
        "endpoint": address.netloc or "s3.amazonaws.com",
        "region": cluster.store_region or "us-east-1",
        "disableSSL": address.scheme == "http",
        "forcePathStyle": bool(address.netloc),
        "credentials": {"fromEnv": False, "secretRef": keys},
    }
    providers = yaml.safe_dump({"s3": {"default": default}}, sort_keys=False)
    return {"defaultPipelineRoot": f"{cluster.store.rstrip('/')}/kfp", "providers": providers}


def rules(cluster: Cluster) -> list[dict[str, Any]]:
    """The four rights a run was measured to need; the last one spares a warning about the attempt's number."""
    return [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [LAUNCHER]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [cluster.store_secret]},
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]


def objects(cluster: Cluster, namespace: str) -> list[Object]:
    """Everything but the Secrets, whose contents are nobody's to print."""
    account = cluster.service_account or ACCOUNT
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "audio-tune-steps"}
    return [
        _object("v1", "ConfigMap", LAUNCHER, namespace, data=launcher_data(cluster)),
        _object("v1", "ServiceAccount", account, namespace),
        _object("rbac.authorization.k8s.io/v1", "Role", "audio-tune-steps", namespace, rules=rules(cluster)),
        _object(
            "rbac.authorization.k8s.io/v1", "RoleBinding", "audio-tune-steps", namespace, roleRef=role,
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        ),
        _object("networking.k8s.io/v1", "NetworkPolicy", "audio-tune-steps", namespace, spec=_arrows(cluster)),
    ]  # fmt: skip


def _object(version: str, kind: str, name: str, namespace: str, **rest: Any) -> Object:
    labels = {"app.kubernetes.io/name": "audio-tune", "app.kubernetes.io/component": "steps"}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}, **rest}


def _arrows(cluster: Cluster) -> dict[str, Any]:
    """Pods of a run ask others and are asked by nobody. KFP labels all of them with pipeline/runid."""
    named = {urlsplit(url).port or 443 for url in (cluster.store_endpoint, cluster.mlflow) if url}
    ports = [{"protocol": "TCP", "port": port} for port in sorted({*EGRESS_TCP, *named, 6443})]
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "podSelector": {"matchExpressions": [{"key": "pipeline/runid", "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [{"ports": [*dns, *ports]}],
    }


def patch_command(cluster: Cluster, namespace: str = "kubeflow") -> str:
    """The command that tells a single-user Kubeflow of our bucket."""
    patch = json.dumps({"data": launcher_data(cluster)})
    return f"kubectl patch configmap {LAUNCHER} --namespace {namespace} --type merge --patch {shlex.quote(patch)}"


def secret_commands(cluster: Cluster, namespace: str) -> str:
    """How the two Secrets are made; the keys come from two files that hold nothing else."""
    files = " ".join(f"--from-file={key}={key}" for key in KEYS)
    names = (cluster.store_secret, LOG_SECRET)
    return "\n".join(f"kubectl create secret generic {name} --namespace {namespace} {files}" for name in names)


def manifests(cluster: Cluster) -> dict[str, str]:
    """The plain manifests in deploy/kfp, file name -> text; a contract test holds them to this."""
    head = "# Written by `python -m pipelines.namespace --write` from deploy/kfp/cluster.yaml; change it there.\n"
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LAUNCHER}, "data": launcher_data(cluster)}
    return {
        "multi-user/objects.yaml": head + yaml.safe_dump_all(objects(cluster, "audio-tune"), sort_keys=False),
        "single-user/launcher-patch.yaml": head + yaml.safe_dump(patch, sort_keys=False),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.namespace", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster (AUDIOTUNE_CLUSTER)")
    parser.add_argument("--namespace", default="", help="where runs land (default: audio-tune; with --patch kubeflow)")
    parser.add_argument("--patch", action="store_true", help="single-user: print the command that changes Kubeflow's ConfigMap")
    parser.add_argument("--secrets", action="store_true", help="print the commands that make the two Secrets")
    parser.add_argument("--write", action="store_true", help="write the manifests in deploy/kfp anew")
    args = parser.parse_args(argv)
    try:
        if args.write:
            for name, text in manifests(load_cluster(DEPLOY / "cluster.yaml")).items():
                write_whole(DEPLOY / name, text)
            return 0
        cluster = (load_cluster(args.for_cluster) if args.for_cluster else cluster_from_environment()) or Cluster()
    except AudioTuneError as e:
        print(f"namespace: {e}", file=sys.stderr)
        return 2
    if args.patch:
        print(patch_command(cluster, args.namespace or "kubeflow"))
    if args.secrets:
        print(secret_commands(cluster, args.namespace or ("kubeflow" if args.patch else "audio-tune")))
    if not (args.patch or args.secrets):
        print(yaml.safe_dump_all(objects(cluster, args.namespace or "audio-tune"), sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
