"""Scores a rendered chart: `helm template ... | python -m deploy.chart.scorecard`. Exit code 1 when a pod fails a line.

The lines are: pods that PodSecurity "restricted" admits, read-only roots, requests and limits, no token where none is used, images
by digest, deny-by-default policies for every pod, every environment variable named once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Object = dict[str, Any]
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class StartedPod:
    """A pod that an object of the chart starts."""

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def list_pods(objects: list[Object]) -> Iterator[StartedPod]:
    """All pods; a TrainingRuntime starts none, as a TrainJob of a step completes what it holds."""
    for found in objects:
        spec, meta = found.get("spec") or {}, found["metadata"]
        if found["kind"] == "Pod":
            yield StartedPod(meta["name"], meta.get("labels", {}), spec)
            continue
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if isinstance(template, dict) and "containers" in template.get("spec", {}):
            labels = template.get("metadata", {}).get("labels", {})
            yield StartedPod(f"{found['kind']}/{meta['name']}", labels, template["spec"])


def is_restricted(pod: StartedPod) -> bool:
    """PodSecurity "restricted", as far as a template can break it."""
    host = any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    volumes = all(set(v) - {"name"} <= _VOLUMES for v in pod.spec.get("volumes", []))
    profile = pod.spec.get("securityContext", {}).get("seccompProfile", {}).get("type")
    return not host and volumes and profile == "RuntimeDefault" and all(_is_locked_down(c) for c in pod.containers)


_VOLUMES = {"configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim", "ephemeral", "csi"}


def _is_locked_down(container: Object) -> bool:
    context = container.get("securityContext", {})
    dropped = context.get("capabilities", {})
    return (
        context.get("allowPrivilegeEscalation") is False
        and context.get("runAsNonRoot") is True
        and not context.get("privileged")
        and dropped.get("drop") == ["ALL"]
        and not dropped.get("add")
    )


def has_read_only_root(pod: StartedPod) -> bool:
    return all(c.get("securityContext", {}).get("readOnlyRootFilesystem") is True for c in pod.containers)


def has_requests_and_limits(pod: StartedPod) -> bool:
    """Requests for CPU and memory, and a limit for memory. A CPU limit would only make sounds late."""
    return all(
        {"cpu", "memory"} <= set(c.get("resources", {}).get("requests", {}))
        and "memory" in c.get("resources", {}).get("limits", {})
        for c in pod.containers
    )


def has_no_token(pod: StartedPod) -> bool:
    """No token, except in pods whose program talks to Kubernetes' API."""
    uses = any("in_cluster.py" in " ".join(c.get("command", [])) for c in pod.containers)
    return pod.spec.get("automountServiceAccountToken") is False or uses


def has_digests(pod: StartedPod) -> bool:
    return all(_DIGEST.search(c["image"]) for c in pod.containers)


def has_unique_variables(pod: StartedPod) -> bool:
    names = [[e["name"] for e in c.get("env", [])] for c in pod.containers]
    return all(len(found) == len(set(found)) for found in names)


def build_deny_check(objects: list[Object]) -> Callable[[StartedPod], bool]:
    """Whether a policy without any rule of its own selects a pod for both directions."""
    closed = [
        o["spec"]["podSelector"].get("matchLabels", {})
        for o in objects
        if o["kind"] == "NetworkPolicy"
        and set(o["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not o["spec"].get("ingress")
        and not o["spec"].get("egress")
    ]
    return lambda pod: any(labels.items() <= pod.labels.items() for labels in closed)


def list_failing_pods(objects: list[Object]) -> dict[str, list[str]]:
    """Line -> names of the objects whose pods fail it."""
    lines: dict[str, Callable[[StartedPod], bool]] = {
        "restricted": is_restricted,
        "read-only root": has_read_only_root,
        "requests and limits": has_requests_and_limits,
        "no token": has_no_token,
        "images by digest": has_digests,
        "default deny": build_deny_check(objects),
        "unique variables": has_unique_variables,
    }
    found = list(list_pods(objects))
    return {line: [pod.owner for pod in found if not good(pod)] for line, good in lines.items()}


def main() -> int:
    objects = [found for found in yaml.safe_load_all(sys.stdin) if found]
    count = len(list(list_pods(objects)))
    if not count:
        print("nothing was rendered: pipe `helm template` into this", file=sys.stderr)
        return 1
    scores = list_failing_pods(objects)
    for line, failing in scores.items():
        print(f"{line:22} {count - len(failing):3}/{count}  {', '.join(failing)}".rstrip())
    return 1 if any(scores.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
