"""GPU presets on simulated nodes: pods land where the preset says, and nowhere else. `python -m tests.e2e.gpus`

The API server and scheduler of the lab (AUDIOTUNE_LAB) are real; the nodes are simulated by kwok: pods are placed there, nothing runs.
Each simulated node has a taint that keeps the lab's own pods away. Every pod here tolerates it and has an affinity to these nodes; all
else is as the chart and the pipelines make it. Owns the namespace audio-tune-gpus, nodes named gpus-*, and the RuntimeClass and
DeviceClass where they are missing, and deletes all of it at its end.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipelines.cluster.placement import place_tasks
from pipelines.cluster.settings import load_cluster
from pipelines.documents import read_documents
from tests.e2e.cluster_access import CHART, find_obstacle
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.e2e.standin.driver import Run
from tests.e2e.standin.pods import pod
from tests.rendered_chart import objects, one

SIMULATED_TAINT = "audio-tune/simulated"
PRESETS = yaml.safe_load((CHART / "files" / "presets.yaml").read_text())
GPU_PRESETS = tuple(name for name, preset in PRESETS.items() if preset["count"])
GPU_NAMES = {"l4-24gb": "NVIDIA-L4", "a100-40gb": "NVIDIA-A100-SXM4-40GB", "h100-80gb": "NVIDIA-H100-80GB-HBM3"}
GPU_NAMES["mig-2g.20gb"] = "NVIDIA-A100-SXM4-80GB"
DRIVER = "gpu.nvidia.com"
# How kwok changes a new node: to ready, with the resources it declares. kwok itself renews its lease.
STAGE = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: ready}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector:
    matchExpressions:
      - {key: '.status.conditions.[] | select( .type == "Ready" ) | .status', operator: NotIn, values: ["True"]}
  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      {{ range NodeConditions }}
      - lastHeartbeatTime: {{ $now | Quote }}
        lastTransitionTime: {{ $now | Quote }}
        message: {{ .message | Quote }}
        reason: {{ .reason | Quote }}
        status: {{ .status | Quote }}
        type: {{ .type | Quote }}
      {{ end }}
      phase: Running
"""
TIMEOUT_S = 120
Object = dict[str, Any]


def build_node(name: str, gpu: str = "", resource: str = "") -> Object:
    """A node as the GPU operator would set it up: the GPU's label, the taint, two of the resource."""
    amounts = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110", **({resource: "2"} if resource else {})}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", SIMULATED_TAINT: "true"}
    taints = [{"key": SIMULATED_TAINT, "value": "true", "effect": "NoSchedule"}]
    if gpu:
        labels |= {"nvidia.com/gpu.product": gpu, "nvidia.com/gpu.present": "true"}
        labels |= {"nvidia.com/mig.strategy": "mixed"} if "mig" in resource else {}
        taints.append({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": taints},
        "status": {"allocatable": amounts, "capacity": amounts},
    }


def build_nodes() -> dict[str, Object]:
    """Preset -> the node it is meant for. `cpu` has one without a GPU, and `unknown` has a GPU that no preset names."""
    made = {
        name: build_node(f"gpus-{name.replace('.', '-')}", GPU_NAMES[name], PRESETS[name]["resource"]) for name in GPU_PRESETS
    }
    return {**made, "cpu": build_node("gpus-plain"), "unknown": build_node("gpus-unknown", "NVIDIA-T4", "nvidia.com/gpu")}


def keep_on_simulated_nodes(found: Object, name: str) -> Object:
    """The pod with a toleration for the simulated nodes' taint, and an affinity to these nodes."""
    spec = found["spec"]
    inside = {"matchExpressions": [{"key": SIMULATED_TAINT, "operator": "Exists"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [inside]}}}
    tolerations = [*spec.get("tolerations", []), {"key": SIMULATED_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
    spec = {**spec, "affinity": affinity, "tolerations": tolerations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**found["metadata"], "name": name}, "spec": spec}


def build_generation_pod(preset: str, *, device: str = "plugin") -> Object:
    """The pod of the generation service, as the chart renders it."""
    values = {"generation": {"gpu": {"preset": preset, "device": device}}}
    template: Object = one(objects(values), "Deployment", "generation")["spec"]["template"]
    return template


def build_finetune_pod(preset: str) -> Object:
    """The pod of the step finetune: the chart's cluster.json, the pipelines' placement, the stand-in's pod."""
    facts = one(objects({"pipelines": {"gpu": {"preset": preset}}}), "ConfigMap", "cluster")["data"]["cluster.json"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.json"
        path.write_text(facts)
        cluster = load_cluster(path)
    documents = place_tasks(read_documents(CHART / "files" / "pipelines" / "tune.yaml"), cluster)
    return pod(Run(documents, {}, "gpus", "gpus", "s3://x", {}), "finetune", {"inputs": {"parameterValues": {}}}, "p", "default")


class GpuPresetStages:
    """The stages, in their order; each prints what it saw."""

    def __init__(self) -> None:
        self.cluster = ClusterNamespace("audio-tune-gpus")
        self.nodes = build_nodes()
        self.made: list[tuple[str, str]] = []

    def set_up(self) -> None:
        self.cluster.kubectl("create", "namespace", self.cluster.namespace, check=False)
        self.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "audio-tune-pods"}})
        self._create_missing(
            {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
        )
        for found in self.nodes.values():
            self.cluster.apply(found)
        for found in self.nodes.values():
            name = found["metadata"]["name"]
            self.cluster.wait_until(f"node {name} is ready", functools.partial(self._is_node_ready, name), TIMEOUT_S)

    def presets_land_on_their_node(self) -> None:
        for preset in PRESETS:
            for part, made in (("generation", build_generation_pod(preset)), ("finetune", build_finetune_pod(preset))):
                self._check_placed(f"{part}-{preset}".replace(".", "-"), made, self._node_name(preset))

    def presets_wait_when_their_node_is_cordoned(self) -> None:
        """Also `cpu`: a pod without a GPU waits rather than go to a node that has one."""
        for preset in PRESETS:
            self.cluster.kubectl("cordon", self._node_name(preset))
            for part, made in (("generation", build_generation_pod(preset)), ("finetune", build_finetune_pod(preset))):
                self._check_waits(f"{part}-{preset}".replace(".", "-"), made)
            self.cluster.kubectl("uncordon", self._node_name(preset))

    def a_gpu_is_given_once(self) -> None:
        """Two GPUs, three pods."""
        names = [f"third-{n}" for n in range(3)]
        for name in names:
            self.cluster.apply(keep_on_simulated_nodes(build_generation_pod("l4-24gb"), name))
        self.cluster.wait_until("two pods are placed", lambda: sum(bool(self._find_node(name)) for name in names) == 2, TIMEOUT_S)
        [left] = [name for name in names if not self._find_node(name)]
        self.cluster.wait_until("the third waits", lambda: "Insufficient nvidia.com/gpu" in self._read_reason(left), TIMEOUT_S)
        self._delete_pods(*names)
        print("        three pods, two GPUs: the third waits (Insufficient nvidia.com/gpu)")

    def claims_land_where_a_device_is(self) -> None:
        """Dynamic Resource Allocation: a slice of devices, registered by hand, instead of the device plugin's resource."""
        self._create_missing(_build_device_class())
        self._create_missing(_build_slice(self._node_name("l4-24gb")))
        values = {"generation": {"gpu": {"preset": "l4-24gb", "device": "claim"}}}
        template = one(objects(values), "ResourceClaimTemplate", "generation-gpu")
        template["metadata"].pop("namespace")
        self.cluster.apply(template)
        self._check_placed("claim-l4", build_generation_pod("l4-24gb", device="claim"), self._node_name("l4-24gb"), keep=True)
        [claim] = self.cluster.get_object("resourceclaims")["items"]
        device = claim["status"]["allocation"]["devices"]["results"][0]
        print(f"        the claim holds device {device['device']} of driver {device['driver']}")
        self._check_waits("claim-second", build_generation_pod("l4-24gb", device="claim"))  # one device, and it is taken
        self._check_waits("claim-h100", build_generation_pod("h100-80gb", device="claim"))  # a node without a device
        self._delete_pods("claim-l4")

    def clean(self) -> None:
        self.cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", check=False)
        for kind, name in self.made:
            self.cluster.kubectl("delete", kind, name, check=False)
        self.cluster.kubectl("delete", "node", *[found["metadata"]["name"] for found in self.nodes.values()], check=False)
        self.cluster.delete()

    def _check_placed(self, name: str, made: Object, wanted: str, *, keep: bool = False) -> None:
        self.cluster.apply(keep_on_simulated_nodes(made, name))
        where = self.cluster.wait_until(f"{name} is placed ({self._read_reason(name)})", lambda: self._find_node(name), TIMEOUT_S)
        if where != wanted:
            raise ClusterError(f"{name} landed on {where} instead of {wanted}")
        print(f"        {name:26} on {where}", flush=True)
        if not keep:
            self._delete_pods(name)

    def _check_waits(self, name: str, made: Object) -> None:
        self.cluster.apply(keep_on_simulated_nodes(made, name))
        why = self.cluster.wait_until(f"the scheduler says why {name} waits", lambda: self._read_reason(name), TIMEOUT_S)
        if where := self._find_node(name):
            raise ClusterError(f"{name} landed on {where}, and should wait")
        print(f"        {name:26} waits: {why[:100]}", flush=True)
        self._delete_pods(name)

    def _node_name(self, preset: str) -> str:
        return str(self.nodes[preset]["metadata"]["name"])

    def _find_node(self, name: str) -> str:
        return str(self.cluster.get_object("pod", name)["spec"].get("nodeName", ""))

    def _read_reason(self, name: str) -> str:
        conditions = self.cluster.get_object("pod", name)["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), "")

    def _is_node_ready(self, name: str) -> bool:
        return any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in self.cluster.get_object("node", name)["status"].get("conditions", [])
        )

    def _create_missing(self, found: Object) -> None:
        """Creates an object of the whole cluster unless it exists; `clean` deletes what was created."""
        kind, name = found["kind"].lower(), found["metadata"]["name"]
        if not self.cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip():
            self.cluster.apply(found)
            self.made.append((kind, name))

    def _delete_pods(self, *names: str) -> None:
        self.cluster.kubectl("delete", "pod", *names, "--force", "--grace-period=0")


def _build_device_class() -> Object:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    api = "resource.k8s.io/v1"
    return {"apiVersion": api, "kind": "DeviceClass", "metadata": {"name": DRIVER}, "spec": {"selectors": [selector]}}


def _build_slice(where: str) -> Object:
    pool = {"name": where, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": where, "pool": pool, "devices": [{"name": "gpu-0"}]}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"{where}-slice"}, "spec": spec}


@contextmanager
def _running_kwok(env: dict[str, str]) -> Iterator[None]:
    """Keeps the simulated nodes ready; without it they count as lost after 40 s."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(STAGE)
        config.flush()
        which = "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"
        command = ["kwok", f"--config={config.name}", which, "--node-lease-duration-seconds=40"]
        running = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            running.terminate()
            running.wait(30)


def main() -> int:
    if reason := find_obstacle(lab_only=True):
        print(f"the GPU presets were not tried: {reason}")
        return 0
    journey = GpuPresetStages()
    stages = (
        journey.set_up,
        journey.presets_land_on_their_node,
        journey.presets_wait_when_their_node_is_cordoned,
        journey.a_gpu_is_given_once,
        journey.claims_land_where_a_device_is,
    )
    with _running_kwok(journey.cluster.env):
        try:
            for stage in stages:
                print(stage.__name__.replace("_", " "), flush=True)
                stage()
        except (ClusterError, subprocess.SubprocessError) as e:
            print(f"gpus: {e}", file=sys.stderr)
            return 1
        finally:
            journey.clean()
    print("every pod landed where its preset says, and nowhere else")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
