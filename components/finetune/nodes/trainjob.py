"""Builds the TrainJob object: trainer.kubeflow.org/v1alpha1 as of Kubeflow Trainer 2.2, the first with `runtimePatches`."""

import hashlib
from dataclasses import dataclass

from components.finetune.nodes.node_resources import LABELS, RUNTIME, NodeResources, Object

GROUP = "trainer.kubeflow.org"
API = f"/apis/{GROUP}/v1alpha1"
TRAINING = "audio-tune/training"  # annotation: the run key of the training
CONTAINER = JOB = "node"  # Trainer's own names for a training pod's container and its replicated job
_MANAGER = "audio-tune/finetune"


@dataclass(frozen=True)
class OwnerPod:
    """The step's own pod. It owns the TrainJob: Kubernetes deletes the TrainJob after the pod."""

    namespace: str
    name: str
    uid: str
    run: str

    @property
    def owner_reference(self) -> Object:
        return {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}


def make_trainjob_name(run: str, run_key: str) -> str:
    """The TrainJob's name, the same for every attempt of one run. Short, since the pods' host names of 63 letters contain it."""
    digits = hashlib.sha256(f"{run}/finetune/{run_key}".encode()).hexdigest()[:16]
    return f"finetune-{digits}"


def build_trainjob(place: NodeResources, pod: OwnerPod, run_key: str, *, nodes: int, devices: int, command: list[str]) -> Object:
    """The TrainJob object with `nodes` pods of `devices` processes each."""
    template = {"metadata": {"labels": dict(LABELS)}, "spec": _build_pod_spec(place)}
    jobs_patch = {"replicatedJobs": [{"name": JOB, "template": {"spec": {"template": template}}}]}
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": make_trainjob_name(pod.run, run_key),
            "namespace": pod.namespace,
            "labels": dict(LABELS),
            "annotations": {TRAINING: run_key, "audio-tune/run": pod.run},
            "ownerReferences": [pod.owner_reference],
        },
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": RUNTIME},
            "activeDeadlineSeconds": place.deadline_s,
            "trainer": {
                "image": place.image,
                "command": command,
                "numNodes": nodes,
                "numProcPerNode": devices,
                "env": place.env,
                "resourcesPerNode": place.resources,
            },
            "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": jobs_patch}}}],
        },
    }


def _build_pod_spec(place: NodeResources) -> Object:
    """A pod that meets PodSecurity's level restricted: read-only root, scratch volumes to write to."""
    scratch = {"tmp": "/tmp", "cache": "/cache"}
    container = {
        "name": CONTAINER,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*place.mounts, *({"name": name, "mountPath": path} for name, path in scratch.items())],
    }
    spec: Object = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": place.user,
            "runAsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 5,  # a node need not save anything: checkpoints are written at fixed times
        "containers": [container],
        "volumes": [*place.volumes, *({"name": name, "emptyDir": {}} for name in scratch)],
    }
    optional = {
        "nodeSelector": place.node_selector,
        "tolerations": place.tolerations,
        "imagePullSecrets": [{"name": name} for name in place.pull_secrets],
    }
    return {**spec, **{key: value for key, value in optional.items() if value}}
