"""Builds the TrainJob object: trainer.kubeflow.org/v1alpha1 as of Kubeflow Trainer 2.2, the first with `runtimePatches`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from components.finetune.nodes.node_resources import LABELS, RUNTIME, NodeResources, Object

GROUP = "trainer.kubeflow.org"
API = f"/apis/{GROUP}/v1alpha1"
TRAINING = "audio-tune/training"  # annotation: which training the TrainJob is for
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
    """The TrainJob's name: the same for every attempt of one run at one training, another for everything else.

    It is short, since the pods' host names contain it and may have 63 letters.
    """
    digits = hashlib.sha256(f"{run}/finetune/{run_key}".encode()).hexdigest()[:16]
    return f"finetune-{digits}"


def build_trainjob(place: NodeResources, pod: OwnerPod, run_key: str, *, nodes: int, devices: int, command: list[str]) -> Object:
    """Builds the object as it is posted.

    Args:
        place: what each pod gets.
        pod: the step's own.
        run_key: names the training.
        nodes: number of pods.
        devices: processes in each.
        command: what each pod runs.
    """
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
            "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": _build_jobs_patch(place)}}}],
        },
    }


def _build_jobs_patch(place: NodeResources) -> Object:
    template = {"metadata": {"labels": dict(LABELS)}, "spec": _build_pod_spec(place)}
    return {"replicatedJobs": [{"name": JOB, "template": {"spec": {"template": template}}}]}


def _build_pod_spec(place: NodeResources) -> Object:
    """As PodSecurity's level restricted asks: the root is read-only, and the program writes to scratch volumes."""
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
    made: Object = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": place.user,
            "runAsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 5,  # a node has nothing to finish: checkpoints are saved at fixed times
        "containers": [container],
        "volumes": [*place.volumes, *({"name": name, "emptyDir": {}} for name in scratch)],
    }
    optional = {
        "nodeSelector": place.node_selector,
        "tolerations": place.tolerations,
        "imagePullSecrets": [{"name": name} for name in place.pull_secrets],
    }
    return {**made, **{key: value for key, value in optional.items() if value}}
