"""GPU presets on simulated nodes: pods land where the preset says, and nowhere else. `python -m tests.e2e.gpus`

The lab's API server and scheduler are real; the nodes are kwok's: pods are placed there, nothing runs. Each simulated node carries a
fence (a taint) that keeps the lab's own pods away, and every pod here may pass it and must stay inside (an affinity); all else is as the
chart and the pipelines make it. Owns the namespace audio-tune-gpus, nodes named gpus-*, RuntimeClass and DeviceClass where they are not
there, and takes it all away at its end.
"""

from __future__ import annotations

import functools
import json
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
from tests.e2e.lab import Cluster, ClusterError, why_not
from tests.e2e.standin.driver import Run
from tests.e2e.standin.pods import pod
from tests.rendered_chart import CHART, objects, one

SIMULATED_TAINT = "audio-tune/simulated"
PRESETS = yaml.safe_load((CHART / "files" / "presets.yaml").read_text())
GPU_PRESETS = tuple(name for name, preset in PRESETS.items() if preset["count"])
CARDS = {"l4-24gb": "NVIDIA-L4", "a100-40gb": "NVIDIA-A100-SXM4-40GB", "h100-80gb": "NVIDIA-H100-80GB-HBM3"}
CARDS["mig-2g.20gb"] = "NVIDIA-A100-SXM4-80GB"
DRIVER = "gpu.nvidia.com"
# What kwok makes of a new node: ready, with the room it says it has. Its lease is renewed by kwok itself.
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


def node(name: str, card: str = "", resource: str = "") -> Object:
    """A node as the GPU operator would leave it: the card's label, the taint, two of the resource."""
    room = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110", **({resource: "2"} if resource else {})}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", SIMULATED_TAINT: "true"}
    taints = [{"key": SIMULATED_TAINT, "value": "true", "effect": "NoSchedule"}]
    if card:
        labels |= {"nvidia.com/gpu.product": card, "nvidia.com/gpu.present": "true"}
        labels |= {"nvidia.com/mig.strategy": "mixed"} if "mig" in resource else {}
        taints.append({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"})
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": taints}, "status": {"allocatable": room, "capacity": room},
    }  # fmt: skip


def nodes() -> dict[str, Object]:
    """Preset -> the node it is meant for; `cpu` has none, and a card no preset knows is there to be missed."""
    made = {name: node(f"gpus-{name.replace('.', '-')}", CARDS[name], PRESETS[name]["resource"]) for name in GPU_PRESETS}
    return {**made, "cpu": node("gpus-plain"), "unknown": node("gpus-unknown", "NVIDIA-T4", "nvidia.com/gpu")}


def keep_on_simulated_nodes(found: Object, name: str) -> Object:
    """The pod may pass the fence, and must stay inside."""
    spec = found["spec"]
    inside = {"matchExpressions": [{"key": SIMULATED_TAINT, "operator": "Exists"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [inside]}}}
    tolerations = [*spec.get("tolerations", []), {"key": SIMULATED_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
    spec = {**spec, "affinity": affinity, "tolerations": tolerations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**found["metadata"], "name": name}, "spec": spec}


def of_generation(preset: str, *, device: str = "plugin") -> Object:
    """The pod of the generation service, as the chart renders it."""
    values = {"generation": {"gpu": {"preset": preset, "device": device}}}
    template: Object = one(objects(values), "Deployment", "generation")["spec"]["template"]
    return template


def of_finetune(preset: str) -> Object:
    """The pod of the step finetune: the chart's cluster.json, the pipelines' placement, the stand-in's pod."""
    told = one(objects({"pipelines": {"gpu": {"preset": preset}}}), "ConfigMap", "cluster")["data"]["cluster.json"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.json"
        path.write_text(told)
        cluster = load_cluster(path)
    documents = place_tasks(read_documents(CHART / "files" / "pipelines" / "tune.yaml"), cluster)
    return pod(Run(documents, {}, "gpus", "gpus", "s3://x", {}), "finetune", {"inputs": {"parameterValues": {}}}, "p", "default")


class GpuPresetStages:
    """The stages, in their order; each prints what it saw."""

    def __init__(self) -> None:
        self.cluster = Cluster("audio-tune-gpus")
        self.nodes = nodes()
        self.borrowed: list[tuple[str, str]] = []

    def set_up(self) -> None:
        self.cluster.kubectl("create", "namespace", self.cluster.namespace, check=False)
        self._apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "audio-tune-pods"}})
        self._lend({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"})
        for found in self.nodes.values():
            self._apply(found)
        for found in self.nodes.values():
            name = found["metadata"]["name"]
            self.cluster.until(f"node {name} is ready", functools.partial(self._node_ready, name), TIMEOUT_S)

    def presets_land_on_their_node(self) -> None:
        for preset in PRESETS:
            for part, made in (("generation", of_generation(preset)), ("finetune", of_finetune(preset))):
                self._lands(f"{part}-{preset}".replace(".", "-"), made, self._name(preset))

    def presets_wait_when_their_node_is_away(self) -> None:
        """Also `cpu`: a pod without a GPU waits rather than go to a node that has one."""
        for preset in PRESETS:
            self.cluster.kubectl("cordon", self._name(preset))
            for part, made in (("generation", of_generation(preset)), ("finetune", of_finetune(preset))):
                self._waits(f"{part}-{preset}".replace(".", "-"), made)
            self.cluster.kubectl("uncordon", self._name(preset))

    def a_card_is_given_once(self) -> None:
        """Two cards, three pods."""
        names = [f"third-{n}" for n in range(3)]
        for name in names:
            self._apply(keep_on_simulated_nodes(of_generation("l4-24gb"), name))
        self.cluster.until("two pods are placed", lambda: sum(bool(self._where(name)) for name in names) == 2, TIMEOUT_S)
        [left] = [name for name in names if not self._where(name)]
        self.cluster.until("the third waits", lambda: "Insufficient nvidia.com/gpu" in self._why(left), TIMEOUT_S)
        self._drop(*names)
        print("        three pods, two cards: the third waits (Insufficient nvidia.com/gpu)")

    def claims_land_where_a_device_is(self) -> None:
        """Dynamic Resource Allocation: a slice of devices, registered by hand, instead of the device plugin's resource."""
        self._lend(_device_class())
        self._lend(_slice(self._name("l4-24gb")))
        values = {"generation": {"gpu": {"preset": "l4-24gb", "device": "claim"}}}
        template = one(objects(values), "ResourceClaimTemplate", "generation-gpu")
        template["metadata"].pop("namespace")
        self._apply(template)
        self._lands("claim-l4", of_generation("l4-24gb", device="claim"), self._name("l4-24gb"), keep=True)
        [claim] = self.cluster.found("resourceclaims")["items"]
        device = claim["status"]["allocation"]["devices"]["results"][0]
        print(f"        the claim holds device {device['device']} of driver {device['driver']}")
        self._waits("claim-second", of_generation("l4-24gb", device="claim"))  # one device, and it is taken
        self._waits("claim-h100", of_generation("h100-80gb", device="claim"))  # a node without a device
        self._drop("claim-l4")

    def clean(self) -> None:
        self.cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", check=False)
        for kind, name in self.borrowed:
            self.cluster.kubectl("delete", kind, name, check=False)
        self.cluster.kubectl("delete", "node", *[found["metadata"]["name"] for found in self.nodes.values()], check=False)
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--wait=false", check=False)

    def _lands(self, name: str, made: Object, wanted: str, *, keep: bool = False) -> None:
        self._apply(keep_on_simulated_nodes(made, name))
        where = self.cluster.until(f"{name} is placed ({self._why(name)})", lambda: self._where(name), TIMEOUT_S)
        if where != wanted:
            raise ClusterError(f"{name} landed on {where} instead of {wanted}")
        print(f"        {name:26} on {where}", flush=True)
        if not keep:
            self._drop(name)

    def _waits(self, name: str, made: Object) -> None:
        self._apply(keep_on_simulated_nodes(made, name))
        why = self.cluster.until(f"the scheduler says why {name} waits", lambda: self._why(name), TIMEOUT_S)
        if where := self._where(name):
            raise ClusterError(f"{name} landed on {where}, and should wait")
        print(f"        {name:26} waits: {why[:100]}", flush=True)
        self._drop(name)

    def _name(self, preset: str) -> str:
        return str(self.nodes[preset]["metadata"]["name"])

    def _where(self, name: str) -> str:
        return str(self.cluster.found("pod", name)["spec"].get("nodeName", ""))

    def _why(self, name: str) -> str:
        conditions = self.cluster.found("pod", name)["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), "")

    def _node_ready(self, name: str) -> bool:
        return any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in self.cluster.found("node", name)["status"].get("conditions", [])
        )

    def _apply(self, found: Object) -> None:
        self.cluster.kubectl("apply", "-f", "-", given=json.dumps(found))

    def _lend(self, found: Object) -> None:
        """Makes a thing of the whole cluster, unless it is there; what was made is taken away at the end."""
        kind, name = found["kind"].lower(), found["metadata"]["name"]
        if not self.cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip():
            self._apply(found)
            self.borrowed.append((kind, name))

    def _drop(self, *names: str) -> None:
        self.cluster.kubectl("delete", "pod", *names, "--force", "--grace-period=0")


def _device_class() -> Object:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    api = "resource.k8s.io/v1"
    return {"apiVersion": api, "kind": "DeviceClass", "metadata": {"name": DRIVER}, "spec": {"selectors": [selector]}}


def _slice(where: str) -> Object:
    pool = {"name": where, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": where, "pool": pool, "devices": [{"name": "gpu-0"}]}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"{where}-slice"}, "spec": spec}


@contextmanager
def _kwok(env: dict[str, str]) -> Iterator[None]:
    """Keeps the simulated nodes alive; without it they are taken for lost after 40 s."""
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
    if reason := why_not():
        print(f"the GPU presets were not tried: {reason}")
        return 0
    trial = GpuPresetStages()
    stages = (
        trial.set_up, trial.presets_land_on_their_node, trial.presets_wait_when_their_node_is_away, trial.a_card_is_given_once,
        trial.claims_land_where_a_device_is,
    )  # fmt: skip
    with _kwok(trial.cluster.env):
        try:
            for stage in stages:
                print(stage.__name__.replace("_", " "), flush=True)
                stage()
        except (ClusterError, subprocess.SubprocessError) as e:
            print(f"gpus: {e}", file=sys.stderr)
            return 1
        finally:
            trial.clean()
    print("every pod landed where its preset says, and nowhere else")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
