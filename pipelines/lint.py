"""Rules every compiled pipeline keeps. Each stands for a run that failed on a real Kubeflow backend."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MOST_PARAMETERS = 12
_LEAST_BACKOFF_S = 7 * 86_400
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}")
Documents = list[dict[str, Any]]


def faults_in(documents: Documents) -> list[str]:
    """Every rule broken, in words; empty when all hold.

    Args:
        documents: the pipeline spec and, after it, the platform spec, as `compiled` gives them.
    """
    spec = documents[0]
    platform = documents[1] if len(documents) > 1 else {}
    return [
        *_equal_specs(spec),
        *_placeholders(spec),
        *_platform_faults(spec, platform),
        *_backoffs(spec),
        *_caching(spec),
        *_form(spec),
    ]


def tasks_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Task name -> task spec, of the root and of every nested DAG."""
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec.get("components", {}).values():
        found.update(component.get("dag", {}).get("tasks", {}))
    return found


def _containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: e["container"] for name, e in spec["deploymentSpec"]["executors"].items() if "container" in e}


def _equal_specs(spec: dict[str, Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, container in _containers(spec).items():
        text = json.dumps(container, sort_keys=True)
        if text in seen:
            yield f"{seen[text]} and {name} have equal container specs: the backend takes them for one component"
        seen[text] = name


def _placeholders(spec: dict[str, Any]) -> Iterator[str]:
    for name, container in _containers(spec).items():
        for word in [*container.get("command", []), *container.get("args", [])]:
            if not isinstance(word, str) or any(p != "{{$}}" for p in _PLACEHOLDER.findall(word)):
                yield f"{name}: {word!r} in its command line; only {{{{$}}}} and constants are resolved by every backend"


def _platform_faults(spec: dict[str, Any], platform: dict[str, Any]) -> Iterator[str]:
    settings = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    for name, container in _containers(spec).items():
        own = settings.get(name, {})
        if not own.get("securityContext", {}).get("runAsNonRoot"):
            yield f"{name}: no run_as_non_root; PodSecurity restricted rejects its pods"
        if container.get("resources", {}).get("accelerator") and not own.get("activeDeadlineSeconds"):
            yield f"{name}: asks for a GPU without a timeout; without a free GPU it would wait for ever"


def _backoffs(spec: dict[str, Any]) -> Iterator[str]:
    for name, task in tasks_of(spec).items():
        policy = task.get("retryPolicy")
        if policy and float(str(policy.get("backoffMaxDuration", "0s")).rstrip("s")) < _LEAST_BACKOFF_S:
            yield f"{name}: backoff_max_duration under seven days; it counts from the first start and stops retries"


def _caching(spec: dict[str, Any]) -> Iterator[str]:
    for name, task in tasks_of(spec).items():
        if name.startswith("register") and task.get("cachingOptions", {}).get("enableCache"):
            yield f"{name}: caching is on; a release would not be registered again"


def _form(spec: dict[str, Any]) -> Iterator[str]:
    count = len(spec["root"].get("inputDefinitions", {}).get("parameters", {}))
    if count > MOST_PARAMETERS:
        yield f"{count} parameters on the run form; at most {MOST_PARAMETERS}"
