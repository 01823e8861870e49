"""Checks every pod of a rendered chart: `helm template ... | python -m deploy.chart.scorecard`. Exit code 1 when a pod fails a check.

With `--lock deploy/images.lock` every image that the chart names anywhere must have a digest of that lock: pods, and the images of a
run's steps, which stand in a ConfigMap.

The checks: PodSecurity "restricted" admits the pod, read-only roots, requests and limits, no token where none is used, images
by digest, a policy that denies by default, every environment variable named once.
"""

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_VOLUMES = {"configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim", "ephemeral", "csi"}
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
    """All pods. A TrainingRuntime starts none by itself, only with a TrainJob of a step."""
    for owner in objects:
        spec, meta = owner.get("spec") or {}, owner["metadata"]
        if owner["kind"] == "Pod":
            yield StartedPod(meta["name"], meta.get("labels", {}), spec)
            continue
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if isinstance(template, dict) and "containers" in template.get("spec", {}):
            labels = template.get("metadata", {}).get("labels", {})
            yield StartedPod(f"{owner['kind']}/{meta['name']}", labels, template["spec"])


def is_restricted(pod: StartedPod) -> bool:
    """Whether PodSecurity "restricted" admits it."""
    host = any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    volumes = all(set(v) - {"name"} <= _VOLUMES for v in pod.spec.get("volumes", []))
    profile = pod.spec.get("securityContext", {}).get("seccompProfile", {}).get("type")
    return not host and volumes and profile == "RuntimeDefault" and all(_is_locked_down(c) for c in pod.containers)


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
    """Requests for CPU and memory, and a limit for memory. A CPU limit would only slow down generation."""
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
    containers = [[e["name"] for e in c.get("env", [])] for c in pod.containers]
    return all(len(names) == len(set(names)) for names in containers)


def build_deny_check(objects: list[Object]) -> Callable[[StartedPod], bool]:
    """A check whether a policy without rules selects a pod for both directions."""
    closed = [
        o["spec"]["podSelector"].get("matchLabels", {})
        for o in objects
        if o["kind"] == "NetworkPolicy" and set(o["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        if not o["spec"].get("ingress") and not o["spec"].get("egress")
    ]
    return lambda pod: any(labels.items() <= pod.labels.items() for labels in closed)


def list_failing_pods(objects: list[Object]) -> dict[str, list[str]]:
    """Check -> names of the objects whose pods fail it."""
    checks: dict[str, Callable[[StartedPod], bool]] = {
        "restricted": is_restricted,
        "read-only root": has_read_only_root,
        "requests and limits": has_requests_and_limits,
        "no token": has_no_token,
        "images by digest": has_digests,
        "default deny": build_deny_check(objects),
        "unique variables": has_unique_variables,
    }
    return {name: [pod.owner for pod in list_pods(objects) if not passes(pod)] for name, passes in checks.items()}


def list_images(node: Any) -> Iterator[str]:
    """Every image that objects name: the values of `image`, and of `images` in the JSON of a ConfigMap."""
    if isinstance(node, list):
        for item in node:
            yield from list_images(item)
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "image" and isinstance(value, str):
            yield value
        elif key == "images" and isinstance(value, dict):
            yield from filter(None, value.values())
        elif key.endswith(".json") and isinstance(value, str):
            with contextlib.suppress(ValueError):
                yield from list_images(json.loads(value))
        else:
            yield from list_images(value)


def list_unlocked_images(objects: list[Object], lock: Mapping[str, Any]) -> list[str]:
    """The images that objects name without a digest, or with one that the lock (deploy/images.lock) does not hold."""
    known = {image["digest"] for image in lock["images"]} | {str(lock.get("database", "")).partition("@")[2]}
    return sorted({image for image in list_images(objects) if image.partition("@")[2] not in known - {""}})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.chart.scorecard", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lock", type=Path, metavar="FILE", help="deploy/images.lock: refuse images without a digest of it")
    args = parser.parse_args(argv)
    objects = [document for document in yaml.safe_load_all(sys.stdin) if document]
    count = len(list(list_pods(objects)))
    if not count:
        print("nothing was rendered: pipe `helm template` into this", file=sys.stderr)
        return 1
    checks = list_failing_pods(objects)
    for name, failing in checks.items():
        print(f"{name:22} {count - len(failing):3}/{count}  {', '.join(failing)}".rstrip())
    unlocked = list_unlocked_images(objects, json.loads(args.lock.read_text())) if args.lock else []
    for image in unlocked:
        print(f"{image} has no digest of {args.lock}")
    return 1 if unlocked or any(checks.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
